//! Text from outside, as the log shows it.

use std::slice::EscapeAscii;

/// Longest text from outside in one field of the log, in bytes.
const FIELD_BYTES_MAX: usize = 256;

/// Returns the start of `text`, escaped, so that a client can neither fill the log nor write lines of
/// its own into it.
pub(crate) fn for_log(text: &[u8]) -> EscapeAscii<'_> {
    text[..text.len().min(FIELD_BYTES_MAX)].escape_ascii()
}

#[cfg(test)]
mod tests {
    use super::for_log;

    #[test]
    fn fields_are_short_and_on_one_line() {
        assert_eq!(for_log(b"a\r\nb").to_string(), "a\\r\\nb");
        assert_eq!(for_log(&[b'x'; 16 << 10]).to_string().len(), 256);
    }
}
