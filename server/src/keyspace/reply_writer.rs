//! Lets the store's commands write their replies with the runtime's encoder.

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_store::ReplyWriter;

/// The encoder as the store knows it.
pub(crate) struct Replies<'a>(pub(crate) &'a mut Encoder);

impl ReplyWriter for Replies<'_> {
    #[inline]
    fn protocol(&self) -> ferrite_store::Protocol {
        match self.0.protocol() {
            Protocol::Resp2 => ferrite_store::Protocol::Resp2,
            Protocol::Resp3 => ferrite_store::Protocol::Resp3,
        }
    }

    #[inline]
    fn null(&mut self) {
        self.0.null();
    }

    #[inline]
    fn null_array(&mut self) {
        self.0.null_array();
    }

    #[inline]
    fn simple(&mut self, text: &str) {
        self.0.simple(text);
    }

    #[inline]
    fn ok(&mut self) {
        self.0.ok();
    }

    #[cold]
    fn error(&mut self, code_and_text: &str) {
        self.0.error(code_and_text);
    }

    #[inline]
    fn int(&mut self, value: i64) {
        self.0.int(value);
    }

    #[inline]
    fn double(&mut self, value: f64) {
        self.0.double(value);
    }

    #[inline]
    fn bool(&mut self, value: bool) {
        self.0.bool(value);
    }

    #[inline]
    fn bulk(&mut self, bytes: &[u8]) {
        self.0.bulk(bytes);
    }

    #[inline]
    fn array(&mut self, len: usize) {
        self.0.array(len);
    }

    #[inline]
    fn map(&mut self, len: usize) {
        self.0.map(len);
    }

    #[inline]
    fn set(&mut self, len: usize) {
        self.0.set(len);
    }

    #[inline]
    fn push(&mut self, len: usize) {
        self.0.push(len);
    }

    #[inline]
    fn verbatim(&mut self, format: &str, text: &[u8]) {
        let format = format.as_bytes().try_into().unwrap_or(*b"txt");
        self.0.verbatim(format, text);
    }

    #[inline]
    fn big_number(&mut self, digits: &[u8]) {
        self.0.big_number(digits);
    }
}
