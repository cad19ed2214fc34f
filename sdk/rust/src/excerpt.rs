//! Shows values in error replies: quoted, escaped and cut to a readable length.

use alloc::string::String;
use alloc::vec;

/// The most bytes of a value that an error reply shows.
const EXCERPT_BYTES_MAX: usize = 64;

/// Returns `value` in double quotes, as `redis-cli` would print it.
pub(crate) fn excerpt(value: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = vec![b'"'];
    for &byte in value.iter().take(EXCERPT_BYTES_MAX) {
        let escaped = match byte {
            b'"' | b'\\' => [b'\\', byte, 0, 0],
            b'\n' => [b'\\', b'n', 0, 0],
            b'\r' => [b'\\', b'r', 0, 0],
            b' '..=b'~' => [byte, 0, 0, 0],
            _ => {
                let digit = |nibble: u8| HEX[usize::from(nibble & 15)];
                [b'\\', b'x', digit(byte >> 4), digit(byte)]
            }
        };
        text.extend(escaped.into_iter().filter(|&byte| byte != 0));
    }
    let cut = value.len() > EXCERPT_BYTES_MAX;
    text.extend_from_slice(if cut { b"\"..." } else { b"\"" });
    // All of it is ASCII, so this cannot fail.
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::excerpt;

    #[test]
    fn control_bytes_and_quotes_are_escaped() {
        assert_eq!(excerpt(b"a\"b\\c\r\n\x00\xff"), r#""a\"b\\c\r\n\x00\xff""#);
    }

    #[test]
    fn long_values_are_cut() {
        let text = excerpt(&[b'x'; 65]);
        assert!(text.ends_with("x\"..."));
        assert_eq!(text.len(), 64 + 2 + 3);
    }
}
