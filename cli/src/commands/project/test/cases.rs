//! Files of cases: commands and the replies that they must have, as a transcript.

use std::fmt::Write as _;

use anyhow::{Result, bail};

/// A file of cases, with everything that is needed to write it again.
pub(super) struct CaseFile {
    /// Lines before the first case.
    head: String,
    pub(super) cases: Vec<Case>,
}

/// Some commands on a store that is empty at first.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    /// Lines after the case's name and before its first command.
    head: String,
}

/// A command and its reply.
pub(super) struct Step {
    /// The command as it is written, without the `>`.
    pub(super) command: String,
    pub(super) line: usize,
    /// The reply as `redis-cli` prints it, with a line end.
    pub(super) expected: String,
    /// Blank lines and comments below the reply.
    tail: String,
}

impl CaseFile {
    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// Fails if it has no case, or a line that belongs to none; the error names the line.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut file = Self {
            head: String::new(),
            cases: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if let Some(name) = line.strip_prefix("== ") {
                file.cases.push(Case {
                    name: name.trim().to_owned(),
                    steps: Vec::new(),
                    head: String::new(),
                });
                continue;
            }
            let is_remark = line.trim().is_empty() || line.starts_with('#');
            let Some(case) = file.cases.last_mut() else {
                if !is_remark {
                    bail!("line {number}: the first case begins with a line `== its name`");
                }
                push(&mut file.head, line);
                continue;
            };
            if let Some(command) = line.strip_prefix("> ") {
                case.steps.push(Step {
                    command: command.to_owned(),
                    line: number,
                    expected: String::new(),
                    tail: String::new(),
                });
                continue;
            }
            match case.steps.last_mut() {
                Some(step) if is_remark => push(&mut step.tail, line),
                Some(step) if step.tail.is_empty() => push(&mut step.expected, line),
                None if is_remark => push(&mut case.head, line),
                _ => bail!(
                    "line {number}: a reply stands right below its command, which begins with `> `"
                ),
            }
        }
        if file.cases.is_empty() {
            bail!("there is no case in it; one begins with a line `== its name`");
        }
        Ok(file)
    }

    /// Returns the file's text.
    pub(super) fn text(&self) -> String {
        let mut text = self.head.clone();
        for case in &self.cases {
            let _ = writeln!(text, "== {}", case.name);
            text.push_str(&case.head);
            for step in &case.steps {
                let _ = writeln!(text, "> {}", step.command);
                text.push_str(&step.expected);
                text.push_str(&step.tail);
            }
        }
        text
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::CaseFile;

    const TEXT: &str = "# head\n\n== one\n# about it\n> GET a\n(nil)\n> MGET a b\n1) (nil)\n2) (nil)\n\n== two\n> PING\n";

    #[test]
    fn a_file_is_read_and_written_again() {
        let file = CaseFile::parse(TEXT).expect("it is right");
        assert_eq!(file.text(), TEXT);
        assert_eq!(file.cases.len(), 2);
        let case = &file.cases[0];
        assert_eq!(case.name, "one");
        assert_eq!(case.steps[1].command, "MGET a b");
        assert_eq!(case.steps[1].line, 7);
        assert_eq!(case.steps[1].expected, "1) (nil)\n2) (nil)\n");
    }

    #[test]
    fn a_line_that_belongs_to_nothing_is_named() {
        for (text, line) in [
            ("OK\n", "line 1: "),
            ("== a\nOK\n", "line 2: "),
            ("== a\n> PING\nPONG\n\nPONG\n", "line 5: "),
        ] {
            let error = CaseFile::parse(text)
                .map(|_| ())
                .expect_err(text)
                .to_string();
            assert!(error.starts_with(line), "{error}");
        }
        assert!(CaseFile::parse("# nothing\n").is_err());
    }
}
