//! Writes replies in the client's protocol.

use std::fmt::Display;
use std::io::Write as _;

use crate::number::format_double;

/// Version of RESP that a client speaks. A connection starts with RESP2 until `HELLO 3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Has strings, errors, integers, bulk strings and arrays.
    #[default]
    Resp2,
    /// Also has nulls, booleans, doubles, maps, sets, pushes, verbatim strings, big numbers.
    Resp3,
}

/// Appends replies to a buffer that it owns.
///
/// Each method writes one reply, or the head of an aggregate whose elements are the replies that
/// follow. A type that RESP2 lacks is written in Redis's form for RESP2: a map of `n` pairs is an
/// array of `2n`, a double a bulk string, true and false the integers 1 and 0.
///
/// ```
/// use ferrite_protocol::resp::{Encoder, Protocol};
/// let mut reply = Encoder::new(Protocol::Resp2);
/// reply.map(1);
/// reply.bulk(b"answer");
/// reply.double(0.5);
/// assert_eq!(reply.bytes(), b"*2\r\n$6\r\nanswer\r\n$3\r\n0.5\r\n");
/// ```
#[derive(Debug, Default)]
pub struct Encoder {
    protocol: Protocol,
    bytes: Vec<u8>,
}

impl Encoder {
    /// Creates an encoder with an empty buffer.
    #[must_use]
    pub const fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            bytes: Vec::new(),
        }
    }

    /// Creates an encoder that appends to `bytes`, whose content and capacity it keeps.
    #[must_use]
    pub const fn with_buffer(protocol: Protocol, bytes: Vec<u8>) -> Self {
        Self { protocol, bytes }
    }

    /// Returns the protocol of the replies.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sets the protocol of the replies that follow.
    pub const fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Returns everything written and not yet taken.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the number of bytes written and not yet taken.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns true if there is nothing to take.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the content and leaves an empty buffer without capacity.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Discards the content and keeps the capacity.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Discards everything after the first `len` bytes, for a reply that turned out wrong.
    ///
    /// Take `len` from [`Encoder::len`] before the reply's first byte.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Frees capacity beyond `bytes_max`, so that one large reply does not keep its memory.
    pub fn shrink_to(&mut self, bytes_max: usize) {
        if self.bytes.capacity() > bytes_max {
            self.bytes.shrink_to(bytes_max);
        }
    }

    /// Appends bytes that already are RESP of the right protocol.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes null; in RESP2 the null bulk string.
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Writes null in place of an array; in RESP2 the null array.
    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Writes true or false; in RESP2 the integer 1 or 0.
    pub fn bool(&mut self, value: bool) {
        self.raw(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// Writes an integer.
    pub fn int(&mut self, value: i64) {
        self.bytes.push(b':');
        self.number(value);
    }

    /// Writes a count or size as an integer, at most `i64::MAX`.
    pub fn count(&mut self, value: u64) {
        self.int(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// Writes a double; in RESP2 a bulk string. The digits are those of [`format_double`].
    pub fn double(&mut self, value: f64) {
        self.double_text(format_double(value).as_bytes());
    }

    /// Writes a double whose text was chosen; in RESP2 a bulk string.
    pub fn double_text(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.bytes.push(b',');
                self.raw(text);
                self.line_end();
            }
        }
    }

    /// Writes a bulk string.
    pub fn bulk(&mut self, value: &[u8]) {
        self.bytes.reserve(value.len() + 16);
        self.bytes.push(b'$');
        self.length(value.len());
        self.raw(value);
        self.line_end();
    }

    /// Writes a bulk string with the text of `value`.
    pub fn bulk_display(&mut self, value: &dyn Display) {
        self.bulk(value.to_string().as_bytes());
    }

    /// Writes a simple string; carriage returns and line feeds in it become blanks.
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.bytes.push(b'+');
        self.one_line(text.as_ref());
    }

    /// Writes the simple string `OK`.
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// Writes an error, `CODE text`; carriage returns and line feeds in it become blanks.
    pub fn error(&mut self, code_and_text: impl AsRef<[u8]>) {
        self.bytes.push(b'-');
        self.one_line(code_and_text.as_ref());
    }

    /// Writes an error with the text of `error`, which starts with its code.
    pub fn error_display(&mut self, error: &dyn Display) {
        self.bytes.push(b'-');
        let start = self.bytes.len();
        // Writing to memory fails only if `error` itself reports a failure; its text until then
        // stays.
        let _ = write!(self.bytes, "{error}");
        blank_line_breaks(&mut self.bytes[start..]);
        self.line_end();
    }

    /// Writes the head of an array; its `count` elements follow.
    pub fn array(&mut self, count: usize) {
        self.head(b'*', count);
    }

    /// Writes the head of a map; its `pairs` keys and values follow, in turn.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head(b'*', pairs.saturating_mul(2)),
            Protocol::Resp3 => self.head(b'%', pairs),
        }
    }

    /// Writes the head of a set; its `count` elements follow.
    pub fn set(&mut self, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head(b'*', count),
            Protocol::Resp3 => self.head(b'~', count),
        }
    }

    /// Writes the head of a push message, which answers no request; its `count` elements follow.
    pub fn push(&mut self, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head(b'*', count),
            Protocol::Resp3 => self.head(b'>', count),
        }
    }

    /// Writes a string with its format, such as `txt` or `mkd`; in RESP2 a bulk string without it.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.bytes.push(b'=');
                self.length(text.len() + 4);
                self.raw(&format);
                self.bytes.push(b':');
                self.raw(text);
                self.line_end();
            }
        }
    }

    /// Writes an integer of any size, given as its decimal digits; in RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits),
            Protocol::Resp3 => {
                self.bytes.push(b'(');
                self.one_line(digits);
            }
        }
    }

    fn head(&mut self, kind: u8, count: usize) {
        self.bytes.push(kind);
        self.length(count);
    }

    fn length(&mut self, length: usize) {
        let mut buffer = itoa::Buffer::new();
        self.raw(buffer.format(length).as_bytes());
        self.line_end();
    }

    fn number(&mut self, value: i64) {
        let mut buffer = itoa::Buffer::new();
        self.raw(buffer.format(value).as_bytes());
        self.line_end();
    }

    fn one_line(&mut self, text: &[u8]) {
        let start = self.bytes.len();
        self.raw(text);
        blank_line_breaks(&mut self.bytes[start..]);
        self.line_end();
    }

    fn line_end(&mut self) {
        self.raw(b"\r\n");
    }
}

fn blank_line_breaks(text: &mut [u8]) {
    for byte in text {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoder, Protocol};

    fn both(write: impl Fn(&mut Encoder)) -> (String, String) {
        let text = |protocol| {
            let mut encoder = Encoder::new(protocol);
            write(&mut encoder);
            String::from_utf8(encoder.take()).expect("the tests write text")
        };
        (text(Protocol::Resp2), text(Protocol::Resp3))
    }

    #[test]
    fn each_type_has_a_form_in_both_protocols() {
        type Write = fn(&mut Encoder);
        let cases: [(Write, &str, &str); 17] = [
            (Encoder::null, "$-1\r\n", "_\r\n"),
            (Encoder::null_array, "*-1\r\n", "_\r\n"),
            (|e| e.bool(true), ":1\r\n", "#t\r\n"),
            (|e| e.bool(false), ":0\r\n", "#f\r\n"),
            (
                |e| e.int(i64::MIN),
                ":-9223372036854775808\r\n",
                ":-9223372036854775808\r\n",
            ),
            (
                |e| e.count(u64::MAX),
                ":9223372036854775807\r\n",
                ":9223372036854775807\r\n",
            ),
            (|e| e.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|e| e.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (|e| e.simple("a\r\nb"), "+a  b\r\n", "+a  b\r\n"),
            (Encoder::ok, "+OK\r\n", "+OK\r\n"),
            (|e| e.error("ERR a\nb"), "-ERR a b\r\n", "-ERR a b\r\n"),
            (
                |e| e.error_display(&"X a\r\nb"),
                "-X a  b\r\n",
                "-X a  b\r\n",
            ),
            (|e| e.map(2), "*4\r\n", "%2\r\n"),
            (|e| e.set(2), "*2\r\n", "~2\r\n"),
            (|e| e.push(2), "*2\r\n", ">2\r\n"),
            (
                |e| e.verbatim(*b"txt", b"hi"),
                "$2\r\nhi\r\n",
                "=6\r\ntxt:hi\r\n",
            ),
            (|e| e.big_number(b"12"), "$2\r\n12\r\n", "(12\r\n"),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(both(write), (resp2.to_owned(), resp3.to_owned()));
        }
    }

    #[test]
    fn a_wrong_reply_can_be_taken_back() {
        let mut encoder = Encoder::new(Protocol::Resp2);
        encoder.ok();
        let start = encoder.len();
        encoder.array(3);
        encoder.truncate(start);
        encoder.error("ERR no");
        assert_eq!(encoder.bytes(), b"+OK\r\n-ERR no\r\n");
    }
}
