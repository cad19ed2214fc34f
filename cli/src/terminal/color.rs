//! Colours of the words that open a line: for terminals, and only there.

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use anstyle::{AnsiColor, Style};

const GOOD: Style = AnsiColor::Green.on_default();
const NOTE: Style = AnsiColor::Cyan.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// The words, with what may stand before each.
const WORDS: &[(&str, Style)] = &[
    ("ok ", GOOD),
    ("note ", NOTE),
    ("note: ", NOTE),
    ("missing ", WARNING),
    ("warning: ", WARNING),
    ("wider ", WARNING),
    ("error: ", BAD),
    ("(error) ", BAD),
    ("failed ", BAD),
    ("refused: ", BAD),
    ("  expected ", GOOD),
    ("  found ", BAD),
];

/// Returns true if text for this stream gets colours: the stream is a terminal that can show them,
/// and neither `NO_COLOR` nor `TERM=dumb` says otherwise.
pub(super) fn wanted(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Colours the words that open lines.
pub(super) fn paint(text: &str) -> String {
    let mut painted = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match WORDS.iter().find(|(word, _)| line.starts_with(word)) {
            Some((word, style)) => {
                let (word, rest) = line.split_at(word.trim_end().len());
                painted.push_str(&format!("{style}{word}{style:#}{rest}"));
            }
            None => painted.push_str(line),
        }
    }
    painted
}

#[cfg(test)]
mod tests {
    use super::paint;

    #[test]
    fn only_words_at_the_start_of_a_line_are_coloured() {
        for (text, painted) in [
            ("error: no", "\x1b[1m\x1b[31merror:\x1b[0m no"),
            (
                "old  a\nwider   memory\nok\n",
                "old  a\n\x1b[1m\x1b[33mwider\x1b[0m   memory\nok\n",
            ),
            ("an error: no\nnotes\n", "an error: no\nnotes\n"),
            ("  found    1\n", "\x1b[1m\x1b[31m  found\x1b[0m    1\n"),
        ] {
            assert_eq!(paint(text), painted);
        }
    }
}
