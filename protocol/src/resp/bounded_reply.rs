//! Writes the reply of a command as far as the command's budget allows.

use crate::budget::{self, Budget, Exceeded};
use crate::resp::encoder::{Encoder, Protocol};
use crate::resp::reply_writer::ReplyWriter;

/// Most bytes of a piece besides the bytes of its text.
const HEAD_BYTES: usize = 48;

/// Takes the reply of a command that has a budget.
///
/// Each piece is charged before it is written, and nothing is written once the budget is exceeded:
/// what is there then is no reply.
#[derive(Debug)]
pub struct BoundedReply<'a> {
    encoder: &'a mut Encoder,
    start: usize,
    budget: &'a Budget<'a>,
}

impl<'a> BoundedReply<'a> {
    /// Returns a writer that appends to `encoder`.
    pub fn new(encoder: &'a mut Encoder, budget: &'a Budget<'a>) -> Self {
        Self {
            start: encoder.len(),
            encoder,
            budget,
        }
    }

    /// Ends the reply.
    ///
    /// # Errors
    ///
    /// The reason why there is none; the encoder is as it was.
    pub fn finish(self) -> Result<(), Exceeded> {
        match self.budget.exceeded() {
            None => Ok(()),
            Some(reason) => {
                self.encoder.truncate(self.start);
                Err(reason)
            }
        }
    }

    fn piece(&mut self, len: usize, write: impl FnOnce(&mut Encoder)) {
        let bytes = len.saturating_add(HEAD_BYTES);
        if self.budget.exceeded().is_some() {
            return;
        }
        if (self.encoder.len() - self.start).saturating_add(len)
            > self.budget.bounds().reply_bytes_max
        {
            self.budget.exceed(Exceeded::Reply);
            return;
        }
        if self.budget.charge(budget::bytes(bytes as u64)).is_ok() {
            write(self.encoder);
        }
    }
}

impl ReplyWriter for BoundedReply<'_> {
    fn protocol(&self) -> Protocol {
        self.encoder.protocol()
    }

    fn null(&mut self) {
        self.piece(0, Encoder::null);
    }

    fn null_array(&mut self) {
        self.piece(0, Encoder::null_array);
    }

    fn simple(&mut self, text: &str) {
        self.piece(text.len(), |out| out.simple(text));
    }

    fn error(&mut self, code_and_text: &str) {
        self.piece(code_and_text.len(), |out| out.error(code_and_text));
    }

    fn int(&mut self, value: i64) {
        self.piece(0, |out| out.int(value));
    }

    fn double(&mut self, value: f64) {
        self.piece(0, |out| out.double(value));
    }

    fn double_text(&mut self, text: &[u8]) {
        self.piece(text.len(), |out| out.double_text(text));
    }

    fn bool(&mut self, value: bool) {
        self.piece(0, |out| out.bool(value));
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.piece(bytes.len(), |out| out.bulk(bytes));
    }

    fn array(&mut self, len: usize) {
        self.piece(0, |out| out.array(len));
    }

    fn map(&mut self, len: usize) {
        self.piece(0, |out| out.map(len));
    }

    fn set(&mut self, len: usize) {
        self.piece(0, |out| out.set(len));
    }

    fn push(&mut self, len: usize) {
        self.piece(0, |out| out.push(len));
    }

    fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        self.piece(text.len(), |out| out.verbatim(format, text));
    }

    fn big_number(&mut self, digits: &[u8]) {
        self.piece(digits.len(), |out| out.big_number(digits));
    }

    fn charge(&mut self, units: u64) -> Result<(), Exceeded> {
        self.budget.charge(units)
    }

    fn count_written(&mut self, bytes: u64) -> Result<(), Exceeded> {
        self.budget.count_written(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::BoundedReply;
    use crate::budget::{Bounds, Budget, Exceeded};
    use crate::resp::{Encoder, Protocol, ReplyWriter};

    #[test]
    fn a_reply_ends_at_its_bound_and_leaves_nothing() {
        let bounds = Bounds {
            work_max: 1_000,
            written_bytes_max: 0,
            reply_bytes_max: 100,
        };
        let mut encoder = Encoder::new(Protocol::Resp2);
        encoder.ok();
        let before = encoder.bytes().to_vec();
        let budget = Budget::new(bounds, &|| false);
        let mut reply = BoundedReply::new(&mut encoder, &budget);
        reply.array(1_000);
        for _ in 0..1_000 {
            reply.bulk(&[b'x'; 40]);
        }
        assert!(budget.work() < 60, "{budget:?}");
        assert_eq!(reply.charge(1), Err(Exceeded::Reply));
        assert_eq!(reply.finish(), Err(Exceeded::Reply));
        assert_eq!(encoder.bytes(), before);

        let budget = Budget::new(bounds, &|| false);
        let mut reply = BoundedReply::new(&mut encoder, &budget);
        reply.bulk(b"x");
        assert_eq!(reply.finish(), Ok(()));
        assert_eq!(encoder.bytes(), b"+OK\r\n$1\r\nx\r\n");
    }
}
