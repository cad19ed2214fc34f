//! Triggers and schedules that a module declares, so that a host adds them when it loads the function.
//!
//! A module declares them in custom sections of the name [`AUTOMATION_SECTION`], which hold lines of text:
//!
//! ```text
//! on release KEYS session:* EVENTS expired
//! on check KEYS order:* EVENTS hset BEFORE
//! every sweep 5m MISSED once
//! cron rollup "0 3 * * *" KEYS sales ARGS yesterday
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// Name of the custom sections with declarations.
pub const AUTOMATION_SECTION: &str = "ferrite.automation";

/// Most bytes of all such sections of a module.
pub const AUTOMATION_BYTES_MAX: usize = 64 << 10;

/// Most triggers that a module may declare, and most schedules.
pub const DECLARATIONS_MAX: usize = 32;

/// Most patterns, and most events, of one trigger.
const TRIGGER_WORDS_MAX: usize = 64;

const KEYS: &str = "KEYS";
const EVENTS: &str = "EVENTS";
const BEFORE: &str = "BEFORE";
const AFTER: &str = "AFTER";
const MISSED: &str = "MISSED";
const ARGS: &str = "ARGS";

/// Triggers and schedules that a module declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Automation {
    /// Triggers, in the order in which they are declared.
    #[serde(default)]
    pub triggers: Vec<DeclaredTrigger>,
    /// Schedules, in the order in which they are declared.
    #[serde(default)]
    pub schedules: Vec<DeclaredSchedule>,
}

/// A trigger that a module declares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredTrigger {
    /// The entry that runs.
    pub entry: String,
    /// Patterns of keys.
    pub keys: Vec<String>,
    /// Names of events, or `*`.
    pub events: Vec<String>,
    /// True if it runs inside the transaction that writes, and may refuse it.
    pub before: bool,
}

/// A schedule that a module declares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredSchedule {
    /// The entry that runs.
    pub entry: String,
    /// The times at which it is due.
    pub when: DeclaredTime,
    /// True if it runs once for all times that were missed.
    pub missed_once: bool,
    /// Keys of the call.
    pub keys: Vec<String>,
    /// Arguments of the call.
    pub args: Vec<String>,
}

/// The times at which a declared schedule is due. Hosts check them when they load the function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeclaredTime {
    /// A period, such as `5m`.
    Every(String),
    /// An expression of cron.
    Cron(String),
}

/// Reason why declarations are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AutomationError {
    /// The sections are longer than [`AUTOMATION_BYTES_MAX`].
    #[error("the declarations have {bytes} bytes, the limit is {AUTOMATION_BYTES_MAX}")]
    TooLong {
        /// Their length.
        bytes: usize,
    },
    /// There are more than [`DECLARATIONS_MAX`].
    #[error("the module declares {found} {what}, the limit is {DECLARATIONS_MAX}")]
    TooMany {
        /// `triggers` or `schedules`.
        what: &'static str,
        /// Their number.
        found: usize,
    },
    /// The text is not UTF-8.
    #[error("the declarations are not UTF-8: byte {offset} does not belong to a character")]
    Utf8 {
        /// Offset of the byte.
        offset: usize,
    },
    /// A declaration does not read as one.
    #[error("the declaration \"{}\": {problem}", .text.escape_debug())]
    Line {
        /// The declaration, shortened.
        text: String,
        /// The problem, and what to write instead.
        problem: String,
    },
}

/// A declaration names an entry that the module does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the module has no entry \"{}\" to run; its entries are {known}",
    .entry.escape_debug()
)]
pub struct MissingEntry {
    /// The name, shortened.
    pub entry: String,
    /// Names of the entries.
    pub known: String,
}

/// Lists the first names for an error.
fn known<'e>(mut entries: impl Iterator<Item = &'e str>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<_> = entries
        .by_ref()
        .take(SHOWN)
        .map(|name| name.escape_debug().to_string())
        .collect();
    let more = if entries.next().is_some() {
        ", …"
    } else {
        ""
    };
    names.join(", ") + more
}

impl Automation {
    /// Returns true if the module declares nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.triggers.is_empty() && self.schedules.is_empty()
    }

    /// Reads the content of all sections of a module, one after the other.
    ///
    /// # Errors
    ///
    /// A declaration is wrong, there are too many, or the same one stands there twice.
    pub fn read(content: &[u8]) -> Result<Self, AutomationError> {
        if content.len() > AUTOMATION_BYTES_MAX {
            return Err(AutomationError::TooLong {
                bytes: content.len(),
            });
        }
        let text = std::str::from_utf8(content).map_err(|error| AutomationError::Utf8 {
            offset: error.valid_up_to(),
        })?;
        let mut automation = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            automation
                .add(line)
                .map_err(|problem| AutomationError::Line {
                    text: excerpt(line),
                    problem,
                })?;
        }
        automation.check()?;
        Ok(automation)
    }

    /// Checks what holds for all declarations, wherever they come from.
    ///
    /// # Errors
    ///
    /// There are too many, one has too many or too few words, or stands there twice.
    pub fn check(&self) -> Result<(), AutomationError> {
        let counts = [
            ("triggers", self.triggers.len()),
            ("schedules", self.schedules.len()),
        ];
        for (what, found) in counts {
            if found > DECLARATIONS_MAX {
                return Err(AutomationError::TooMany { what, found });
            }
        }
        let wrong = |one: &dyn fmt::Display, problem: String| {
            Err(AutomationError::Line {
                text: excerpt(&one.to_string()),
                problem,
            })
        };
        let mut bytes = 0;
        for trigger in &self.triggers {
            for (what, words) in [(KEYS, &trigger.keys), (EVENTS, &trigger.events)] {
                if words.is_empty() {
                    return wrong(trigger, format!("{what} is missing"));
                }
                if words.len() > TRIGGER_WORDS_MAX {
                    let found = words.len();
                    return wrong(
                        trigger,
                        format!("{what} has {found} words, the limit is {TRIGGER_WORDS_MAX}"),
                    );
                }
                bytes += length(words);
            }
        }
        for schedule in &self.schedules {
            bytes += length(&schedule.keys) + length(&schedule.args);
        }
        if bytes > AUTOMATION_BYTES_MAX {
            return Err(AutomationError::TooLong { bytes });
        }
        if let Some(twice) = duplicate(&self.triggers) {
            return wrong(twice, "it stands there twice".to_owned());
        }
        match duplicate(&self.schedules) {
            Some(twice) => wrong(twice, "it stands there twice".to_owned()),
            None => Ok(()),
        }
    }

    /// Returns the declarations as lines of text, triggers first.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let triggers = self.triggers.iter().map(ToString::to_string);
        triggers.chain(self.schedules.iter().map(ToString::to_string))
    }

    /// Returns the entries that run, some of them more than once.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        let triggers = self.triggers.iter().map(|one| one.entry.as_str());
        triggers.chain(self.schedules.iter().map(|one| one.entry.as_str()))
    }

    /// Checks that a module with entries of these names has all that are declared to run.
    ///
    /// # Errors
    ///
    /// Names the first that it does not have.
    pub fn check_entries<'e>(
        &self,
        entries: impl Iterator<Item = &'e str> + Clone,
    ) -> Result<(), MissingEntry> {
        let is_missing = |name: &&str| !entries.clone().any(|entry| entry == *name);
        match self.entries().find(is_missing) {
            Some(entry) => Err(MissingEntry {
                entry: entry.chars().take(64).collect(),
                known: known(entries),
            }),
            None => Ok(()),
        }
    }

    /// Adds the declaration of one line; the error is the problem.
    fn add(&mut self, line: &str) -> Result<(), String> {
        let words = words(line)?;
        let mut words = words.into_iter();
        let kind = words.next().map(|word| word.text).unwrap_or_default();
        let entry = words.next().map(|word| word.text).unwrap_or_default();
        if entry.is_empty() {
            return Err("name the entry after the first word".to_owned());
        }
        match kind.to_ascii_lowercase().as_str() {
            "on" => self.triggers.push(trigger(entry, words)?),
            kind @ ("every" | "cron") => {
                let Some(time) = words.next().map(|word| word.text) else {
                    return Err("the time is missing".to_owned());
                };
                let when = if kind == "every" {
                    DeclaredTime::Every(time)
                } else {
                    DeclaredTime::Cron(time)
                };
                self.schedules.push(schedule(entry, when, words)?);
            }
            _ => {
                return Err(
                    "begin with `on` for a trigger, or with `every` or `cron` for a schedule"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }
}

fn length(words: &[String]) -> usize {
    words.iter().map(String::len).sum()
}

fn duplicate<T: Ord>(all: &[T]) -> Option<&T> {
    let mut sorted: Vec<&T> = all.iter().collect();
    sorted.sort_unstable();
    sorted
        .windows(2)
        .find(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])
}

fn trigger(entry: String, words: impl Iterator<Item = Word>) -> Result<DeclaredTrigger, String> {
    let (mut keys, mut events) = (Vec::new(), Vec::new());
    let mut seen: Vec<&'static str> = Vec::new();
    for word in words {
        if let Some(option) = word.option(&[KEYS, EVENTS, BEFORE, AFTER]) {
            note(&mut seen, option)?;
            continue;
        }
        match seen.last() {
            Some(&KEYS) => keys.push(word.text),
            Some(&EVENTS) => events.push(word.text.to_ascii_lowercase()),
            _ => {
                return Err(format!(
                    "\"{}\" is not expected there; write KEYS pattern … EVENTS event … and perhaps BEFORE",
                    word.text.escape_debug()
                ));
            }
        }
    }
    if seen.contains(&BEFORE) && seen.contains(&AFTER) {
        return Err("give BEFORE or AFTER, not both".to_owned());
    }
    Ok(DeclaredTrigger {
        entry,
        keys,
        events,
        before: seen.contains(&BEFORE),
    })
}

fn schedule(
    entry: String,
    when: DeclaredTime,
    words: impl Iterator<Item = Word>,
) -> Result<DeclaredSchedule, String> {
    let (mut missed, mut keys, mut args) = (None, Vec::new(), Vec::new());
    let mut seen: Vec<&'static str> = Vec::new();
    for word in words {
        // Everything after ARGS is an argument.
        if seen.last() != Some(&ARGS)
            && let Some(option) = word.option(&[MISSED, KEYS, ARGS])
        {
            note(&mut seen, option)?;
            continue;
        }
        match seen.last() {
            Some(&MISSED) if missed.is_none() => missed = Some(word.text),
            Some(&KEYS) => keys.push(word.text),
            Some(&ARGS) => args.push(word.text),
            _ => {
                return Err(format!(
                    "\"{}\" is not expected there; after the time come MISSED skip|once, KEYS key … and ARGS arg …",
                    word.text.escape_debug()
                ));
            }
        }
    }
    let missed_once = match missed.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None if seen.contains(&MISSED) => return Err("write skip or once after MISSED".to_owned()),
        None | Some("skip") => false,
        Some("once") => true,
        Some(_) => return Err("write skip or once after MISSED".to_owned()),
    };
    Ok(DeclaredSchedule {
        entry,
        when,
        missed_once,
        keys,
        args,
    })
}

fn note(seen: &mut Vec<&'static str>, option: &'static str) -> Result<(), String> {
    if seen.contains(&option) {
        return Err(format!("{option} stands there twice"));
    }
    seen.push(option);
    Ok(())
}

/// A word of a declaration.
struct Word {
    text: String,
    /// True if it stood in quotes, so that it is no option.
    quoted: bool,
}

impl Word {
    fn option(&self, known: &[&'static str]) -> Option<&'static str> {
        let is = |option: &&&'static str| !self.quoted && self.text.eq_ignore_ascii_case(option);
        known.iter().find(is).copied()
    }
}

/// Splits a line into words. A word with blanks, quotes or other unusual characters stands in quotes, as a
/// string of JSON.
fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = if rest.starts_with('"') {
            let end = closing_quote(rest).ok_or("a quote is not closed")?;
            let text = serde_json::from_str(&rest[..end])
                .map_err(|error| format!("a word in quotes is no string of JSON: {error}"))?;
            let after = &rest[end..];
            if !after.is_empty() && !after.starts_with(char::is_whitespace) {
                return Err("a blank is missing after a quote".to_owned());
            }
            (Word { text, quoted: true }, after)
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let text = rest[..end].to_owned();
            (
                Word {
                    text,
                    quoted: false,
                },
                &rest[end..],
            )
        };
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// Returns the end of the string with which a text begins.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn excerpt(text: &str) -> String {
    const SHOWN: usize = 120;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

/// Shows a word as a declaration has it, in quotes where it needs them.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [KEYS, EVENTS, BEFORE, AFTER, MISSED, ARGS];
        let plain = !self.0.is_empty()
            && self.0.bytes().all(|byte| byte.is_ascii_graphic())
            && !self.0.starts_with('"')
            && !words.iter().any(|word| self.0.eq_ignore_ascii_case(word));
        if plain {
            f.write_str(self.0)
        } else {
            f.write_str(&serde_json::to_string(self.0).unwrap_or_default())
        }
    }
}

fn write_words(f: &mut fmt::Formatter<'_>, option: &str, words: &[String]) -> fmt::Result {
    if words.is_empty() {
        return Ok(());
    }
    write!(f, " {option}")?;
    words
        .iter()
        .try_for_each(|word| write!(f, " {}", Shown(word)))
}

/// The line that declares it.
impl fmt::Display for DeclaredTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {}", Shown(&self.entry))?;
        write_words(f, KEYS, &self.keys)?;
        write_words(f, EVENTS, &self.events)?;
        if self.before {
            f.write_str(" BEFORE")?;
        }
        Ok(())
    }
}

/// The line that declares it.
impl fmt::Display for DeclaredSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, time) = match &self.when {
            DeclaredTime::Every(time) => ("every", time),
            DeclaredTime::Cron(time) => ("cron", time),
        };
        write!(f, "{kind} {} {}", Shown(&self.entry), Shown(time))?;
        if self.missed_once {
            f.write_str(" MISSED once")?;
        }
        write_words(f, KEYS, &self.keys)?;
        write_words(f, ARGS, &self.args)
    }
}

#[cfg(test)]
mod tests {
    use super::{AUTOMATION_BYTES_MAX, Automation, DeclaredTime};

    fn read(text: &str) -> Automation {
        Automation::read(text.as_bytes()).expect(text)
    }

    fn problem(text: &[u8]) -> String {
        Automation::read(text).expect_err("refused").to_string()
    }

    #[test]
    fn lines_read_back_as_they_were_written() {
        let text = r#"on release KEYS session:* EVENTS expired
on check KEYS "a b" "KEYS" "" "\"q" EVENTS hset hdel BEFORE
every sweep 5m MISSED once
cron rollup "0 3 * * *" KEYS sales ARGS "ARGS" "é\n" x
"#;
        let automation = read(text);
        assert_eq!(automation.triggers[1].keys, ["a b", "KEYS", "", "\"q"]);
        assert!(automation.triggers[1].before && !automation.triggers[0].before);
        assert_eq!(
            automation.schedules[1].when,
            DeclaredTime::Cron("0 3 * * *".into())
        );
        assert_eq!(automation.schedules[1].args, ["ARGS", "é\n", "x"]);
        let lines: String = automation.lines().map(|line| line + "\n").collect();
        assert_eq!(read(&lines), automation);
        assert_eq!(
            automation.entries().collect::<Vec<_>>(),
            ["release", "check", "sweep", "rollup"]
        );
    }

    #[test]
    fn blanks_and_case_do_not_matter() {
        let plain = read("on f KEYS a EVENTS set");
        assert_eq!(read("\n\r\n  ON f\tkeys a  Events SET after \r\n"), plain);
        assert!(read("\n \n").is_empty() && read("").is_empty());
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, expected) in [
            ("at f 5", "begin with `on`"),
            ("on", "name the entry"),
            ("on f KEYS a", "EVENTS is missing"),
            ("on f EVENTS set", "KEYS is missing"),
            ("on f a EVENTS set", "\"a\" is not expected"),
            ("on f KEYS a EVENTS set BEFORE b", "\"b\" is not expected"),
            ("on f KEYS a KEYS b EVENTS set", "KEYS stands there twice"),
            ("on f KEYS a EVENTS set BEFORE AFTER", "not both"),
            ("on f KEYS \"a EVENTS set", "not closed"),
            ("on f KEYS \"a\"b EVENTS set", "a blank is missing"),
            ("on f KEYS \"\\x\" EVENTS set", "no string of JSON"),
            ("every f", "the time is missing"),
            ("every f 5m MISSED", "write skip or once"),
            ("every f 5m MISSED never", "write skip or once"),
            ("every f 5m MISSED once more", "\"more\" is not expected"),
            ("cron f 0 3 * * *", "\"3\" is not expected"),
            ("every f 5m\nevery f 5m", "stands there twice"),
        ] {
            let error = problem(text.as_bytes());
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(problem(b"on f\xff").contains("byte 4"));
    }

    #[test]
    fn numbers_and_lengths_are_bounded() {
        let many: String = (0..33).map(|n| format!("every f{n} 5m\n")).collect();
        assert!(problem(many.as_bytes()).contains("33 schedules, the limit is 32"));
        let words = "k ".repeat(65);
        let error = problem(format!("on f KEYS {words} EVENTS set").as_bytes());
        assert!(
            error.contains("KEYS has 65 words, the limit is 64"),
            "{error}"
        );
        assert!(error.len() < 400, "{error}");
        let long = vec![b'\n'; AUTOMATION_BYTES_MAX + 1];
        assert!(problem(&long).contains("65537 bytes"));
    }
}
