//! The interface through which commands write their replies.

use crate::budget::Exceeded;
use crate::resp::encoder::{Encoder, Protocol};

/// Takes the one reply of a command, piece by piece.
///
/// The writer handles the protocol: in RESP2 a `map(2)` becomes an array of four elements, a double
/// a bulk string, a null the null bulk string. A command writes only once it is sure to succeed; an
/// error is always the whole reply.
pub trait ReplyWriter {
    /// Returns the protocol of the replies.
    fn protocol(&self) -> Protocol;
    /// Writes the null reply: `$-1` in RESP2, `_` in RESP3.
    fn null(&mut self);
    /// Writes the null array: `*-1` in RESP2, `_` in RESP3.
    fn null_array(&mut self);
    /// Writes a status line, such as `OK`.
    fn simple(&mut self, text: &str);
    /// Writes an error line: code, space, sentence, without the leading `-`.
    fn error(&mut self, code_and_text: &str);
    /// Writes a 64-bit signed integer.
    fn int(&mut self, value: i64);
    /// Writes a double; a bulk string in RESP2.
    fn double(&mut self, value: f64);
    /// Writes a double whose text was chosen; a bulk string in RESP2.
    fn double_text(&mut self, text: &[u8]);
    /// Writes a boolean; `0` or `1` in RESP2.
    fn bool(&mut self, value: bool);
    /// Writes a binary-safe string.
    fn bulk(&mut self, bytes: &[u8]);
    /// Writes the head of an array; `len` replies follow.
    fn array(&mut self, len: usize);
    /// Writes the head of a map; `len` pairs of replies follow. An array of `2 * len` in RESP2.
    fn map(&mut self, len: usize);
    /// Writes the head of a set; `len` replies follow. An array in RESP2.
    fn set(&mut self, len: usize);
    /// Writes the head of a push message; `len` replies follow. An array in RESP2.
    fn push(&mut self, len: usize);
    /// Writes text with a three-letter format (`txt`, `mkd`); a bulk string in RESP2.
    fn verbatim(&mut self, format: [u8; 3], text: &[u8]);
    /// Writes an integer of any size as decimal digits; a bulk string in RESP2.
    fn big_number(&mut self, digits: &[u8]);

    /// Takes units of work that is about to be done for the reply, or for the command itself. A
    /// writer without a budget allows everything.
    ///
    /// # Errors
    ///
    /// The reason why the command must end at once.
    fn charge(&mut self, _units: u64) -> Result<(), Exceeded> {
        Ok(())
    }

    /// Counts bytes that the command is about to write, besides the values that it puts as a whole.
    ///
    /// # Errors
    ///
    /// The reason why the command must end at once.
    fn count_written(&mut self, _bytes: u64) -> Result<(), Exceeded> {
        Ok(())
    }

    /// Writes the status line `OK`.
    fn ok(&mut self) {
        self.simple("OK");
    }

    /// Writes a bulk string, or null.
    fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }
}

impl ReplyWriter for Encoder {
    #[inline]
    fn protocol(&self) -> Protocol {
        self.protocol()
    }

    #[inline]
    fn null(&mut self) {
        self.null();
    }

    #[inline]
    fn null_array(&mut self) {
        self.null_array();
    }

    #[inline]
    fn simple(&mut self, text: &str) {
        self.simple(text);
    }

    #[cold]
    fn error(&mut self, code_and_text: &str) {
        self.error(code_and_text);
    }

    #[inline]
    fn int(&mut self, value: i64) {
        self.int(value);
    }

    #[inline]
    fn double(&mut self, value: f64) {
        self.double(value);
    }

    #[inline]
    fn double_text(&mut self, text: &[u8]) {
        self.double_text(text);
    }

    #[inline]
    fn bool(&mut self, value: bool) {
        self.bool(value);
    }

    #[inline]
    fn bulk(&mut self, bytes: &[u8]) {
        self.bulk(bytes);
    }

    #[inline]
    fn array(&mut self, len: usize) {
        self.array(len);
    }

    #[inline]
    fn map(&mut self, len: usize) {
        self.map(len);
    }

    #[inline]
    fn set(&mut self, len: usize) {
        self.set(len);
    }

    #[inline]
    fn push(&mut self, len: usize) {
        self.push(len);
    }

    #[inline]
    fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        self.verbatim(format, text);
    }

    #[inline]
    fn big_number(&mut self, digits: &[u8]) {
        self.big_number(digits);
    }

    #[inline]
    fn ok(&mut self) {
        self.ok();
    }
}
