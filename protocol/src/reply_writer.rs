//! How commands write replies without building them first.

/// Which protocol the client speaks; some replies have another shape in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2: no maps, sets, doubles or booleans.
    Resp2,
    /// RESP3.
    Resp3,
}

/// Where a command writes its one reply.
///
/// The writer knows the protocol: a `map(2)` becomes four elements of an array in RESP2, a double
/// a bulk string, a null the null bulk string. A command calls it only once it is sure to succeed;
/// an error is always the whole reply.
pub trait ReplyWriter {
    /// The protocol that the replies are written for.
    fn protocol(&self) -> Protocol;
    /// The null reply: `$-1` in RESP2, `_` in RESP3.
    fn null(&mut self);
    /// The null array: `*-1` in RESP2, `_` in RESP3.
    fn null_array(&mut self);
    /// A status line, such as `OK`.
    fn simple(&mut self, text: &str);
    /// An error line: code, space, sentence, without the leading `-`.
    fn error(&mut self, code_and_text: &str);
    /// A 64-bit signed integer.
    fn int(&mut self, value: i64);
    /// A double; a bulk string in RESP2.
    fn double(&mut self, value: f64);
    /// A boolean; `0` or `1` in RESP2.
    fn bool(&mut self, value: bool);
    /// A binary-safe string.
    fn bulk(&mut self, bytes: &[u8]);
    /// The head of an array; `len` replies follow.
    fn array(&mut self, len: usize);
    /// The head of a map; `len` pairs of replies follow. An array of `2 * len` in RESP2.
    fn map(&mut self, len: usize);
    /// The head of a set; `len` replies follow. An array in RESP2.
    fn set(&mut self, len: usize);
    /// The head of a push message; `len` replies follow. An array in RESP2.
    fn push(&mut self, len: usize);
    /// Text with a three-letter format (`txt`, `mkd`); a bulk string in RESP2.
    fn verbatim(&mut self, format: &str, text: &[u8]);
    /// An integer of any size as decimal digits; a bulk string in RESP2.
    fn big_number(&mut self, digits: &[u8]);

    /// The status line `OK`.
    fn ok(&mut self) {
        self.simple("OK");
    }

    /// A bulk string, or null.
    fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }
}
