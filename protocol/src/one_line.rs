//! Text from outside, shown so that it neither begins a line of its own nor steers a terminal.

use std::fmt::{self, Display, Formatter};

/// Shows a text on one line: control characters except the tab, and characters that change the
/// order or the lines of a text, are escaped.
///
/// ```
/// use ferrite_protocol::one_line::OneLine;
/// assert_eq!(OneLine("a\nb\x1b[2J").to_string(), "a\\nb\\u{1b}[2J");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OneLine<'a>(pub &'a str);

impl Display for OneLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.0, steers, char::escape_default)
    }
}

/// Shows a text that may have several lines, like [`OneLine`] otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a>(pub &'a str);

impl Display for Lines<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let steers = |letter| letter != '\n' && steers(letter);
        write_escaped(f, self.0, steers, char::escape_default)
    }
}

/// Shows JSON text so that a terminal is not steered; it stays the same document.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(pub &'a str);

impl Display for Json<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Line ends and tabs stand between the parts of a document; inside its strings, all that
        // is below the space is escaped already.
        let steers = |letter| !matches!(letter, '\n' | '\r') && steers(letter);
        write_escaped(f, self.0, steers, JsonEscape)
    }
}

/// A character as JSON escapes it. All that is escaped has at most 16 bits.
struct JsonEscape(char);

impl Display for JsonEscape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\\u{:04x}", u32::from(self.0))
    }
}

/// Returns true for control characters except the tab, line and paragraph separators, and marks that
/// change the direction of the text after them.
fn steers(letter: char) -> bool {
    match letter {
        '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        letter => letter.is_control(),
    }
}

fn write_escaped<E: Display>(
    f: &mut Formatter<'_>,
    text: &str,
    steers: impl Fn(char) -> bool,
    escape: impl Fn(char) -> E,
) -> fmt::Result {
    let mut rest = text;
    while let Some((at, letter)) = rest.char_indices().find(|&(_, letter)| steers(letter)) {
        f.write_str(&rest[..at])?;
        write!(f, "{}", escape(letter))?;
        rest = &rest[at + letter.len_utf8()..];
    }
    f.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::{Json, Lines, OneLine};

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(OneLine("a\tb é").to_string(), "a\tb é");
        assert_eq!(
            OneLine("x\r\n2026-01-01 INFO forged\x1b[2J\u{9b}\u{202e}").to_string(),
            "x\\r\\n2026-01-01 INFO forged\\u{1b}[2J\\u{9b}\\u{202e}"
        );
    }

    #[test]
    fn lines_stay_lines_and_steer_nothing() {
        assert_eq!(
            Lines("a\n\x1b]0;b\u{7}\r").to_string(),
            "a\n\\u{1b}]0;b\\u{7}\\r"
        );
    }

    #[test]
    fn json_stays_the_same_document() {
        let text = "{\n  \"a\": \"\u{7f}\u{9b}\u{2028}\"\n}";
        assert_eq!(
            Json(text).to_string(),
            "{\n  \"a\": \"\\u007f\\u009b\\u2028\"\n}"
        );
    }
}
