//! The reply of one call, built piece by piece and checked to be exactly one value.

use smallvec::SmallVec;

use ferrite_protocol::resp::{Encoder, Protocol};

/// Deepest nesting of arrays and maps in a reply.
pub(crate) const DEPTH_MAX: usize = 32;

/// Collects the reply of a call.
///
/// A reply is one value; after an array or map follow as many values as it announced. A piece that
/// breaks this is refused before a byte is written, so the content is always the start of one
/// well-formed reply.
#[derive(Debug)]
pub(crate) struct ReplyBuilder {
    encoder: Encoder,
    /// Number of missing values of each open aggregate, the innermost last; never 0.
    open: SmallVec<[u64; 8]>,
    complete: bool,
    bytes_max: usize,
}

/// Reason why a piece of a reply is refused, or a reply is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplyError {
    /// The reply is complete already.
    #[error(
        "the function has replied already; it replies once, and an array is opened with the number of values that follow"
    )]
    Complete,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("the reply nests deeper than {DEPTH_MAX} arrays; make it flatter")]
    TooDeep,
    /// The reply exceeds the function's limit.
    #[error(
        "the reply is longer than its limit of {limit_bytes} bytes; raise max_reply, or reply with less"
    )]
    TooLong {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// A negative number of values.
    #[error("{count} is no number of values")]
    Count {
        /// The requested number.
        count: i32,
    },
    /// The function returned before its array or map was full.
    #[error("the function returned while its reply still lacked {missing} values")]
    Incomplete {
        /// Number of missing values of the innermost open aggregate.
        missing: u64,
    },
}

impl ReplyBuilder {
    /// Creates a builder without a reply.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            encoder: Encoder::new(Protocol::Resp2),
            open: SmallVec::new(),
            complete: false,
            bytes_max: usize::MAX,
        }
    }

    /// Begins a new reply in `protocol` of at most `bytes_max` bytes.
    pub(crate) fn begin(&mut self, protocol: Protocol, bytes_max: usize) {
        self.encoder.clear();
        self.encoder.set_protocol(protocol);
        self.open.clear();
        self.complete = false;
        self.bytes_max = bytes_max;
    }

    /// Returns the most bytes that the reply may have.
    #[must_use]
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Writes one value of about `bytes` bytes with `write`.
    ///
    /// # Errors
    ///
    /// Fails if the reply is complete or would be too long.
    pub(crate) fn value(
        &mut self,
        bytes: usize,
        write: impl FnOnce(&mut Encoder),
    ) -> Result<(), ReplyError> {
        self.check(bytes)?;
        write(&mut self.encoder);
        self.filled();
        Ok(())
    }

    /// Opens an array of `count` values.
    ///
    /// # Errors
    ///
    /// Like [`ReplyBuilder::value`]; also if `count` is negative or the reply nests too deep.
    pub(crate) fn array(&mut self, count: i32) -> Result<(), ReplyError> {
        self.open(count, 1, Encoder::array)
    }

    /// Opens a map of `count` pairs, which are twice as many values.
    ///
    /// # Errors
    ///
    /// Like [`ReplyBuilder::array`].
    pub(crate) fn map(&mut self, count: i32) -> Result<(), ReplyError> {
        self.open(count, 2, Encoder::map)
    }

    /// Returns the bytes of the whole reply, which is `OK` if the function wrote none.
    ///
    /// # Errors
    ///
    /// Fails if the reply lacks values.
    pub(crate) fn finish(&mut self) -> Result<&[u8], ReplyError> {
        if let Some(&missing) = self.open.last() {
            return Err(ReplyError::Incomplete { missing });
        }
        if !self.complete {
            self.encoder.ok();
            self.complete = true;
        }
        Ok(self.encoder.bytes())
    }

    /// Marks the reply as complete and returns the encoder, for a reply that other code writes.
    pub(crate) fn whole(&mut self) -> Result<&mut Encoder, ReplyError> {
        self.check(0)?;
        self.filled();
        Ok(&mut self.encoder)
    }

    /// Frees capacity beyond `bytes_max`.
    pub(crate) fn shrink_to(&mut self, bytes_max: usize) {
        self.encoder.clear();
        self.encoder.shrink_to(bytes_max);
    }

    fn open(
        &mut self,
        count: i32,
        values_each: u64,
        head: impl FnOnce(&mut Encoder, usize),
    ) -> Result<(), ReplyError> {
        /// Most bytes of an aggregate's head.
        const HEAD_BYTES: usize = 16;
        let size = usize::try_from(count).map_err(|_| ReplyError::Count { count })?;
        self.check(HEAD_BYTES)?;
        if self.open.len() == DEPTH_MAX {
            return Err(ReplyError::TooDeep);
        }
        head(&mut self.encoder, size);
        if size == 0 {
            self.filled();
        } else {
            self.open.push(size as u64 * values_each);
        }
        Ok(())
    }

    fn check(&self, bytes: usize) -> Result<(), ReplyError> {
        if self.complete {
            return Err(ReplyError::Complete);
        }
        if self.encoder.len().saturating_add(bytes) > self.bytes_max {
            return Err(ReplyError::TooLong {
                limit_bytes: self.bytes_max,
            });
        }
        Ok(())
    }

    /// Counts a written value, and every aggregate that it completes.
    fn filled(&mut self) {
        while let Some(missing) = self.open.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                return;
            }
            self.open.pop();
        }
        self.complete = true;
    }
}

impl Default for ReplyBuilder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, ReplyBuilder, ReplyError};
    use ferrite_protocol::resp::{Encoder, Protocol};

    fn begun(bytes_max: usize) -> ReplyBuilder {
        let mut reply = ReplyBuilder::new();
        reply.begin(Protocol::Resp3, bytes_max);
        reply
    }

    #[test]
    fn nested_values_complete_a_reply() -> Result<(), ReplyError> {
        let mut reply = begun(1000);
        reply.map(1)?;
        reply.value(8, |out| out.bulk(b"k"))?;
        reply.array(2)?;
        reply.array(0)?;
        assert_eq!(reply.finish(), Err(ReplyError::Incomplete { missing: 1 }));
        reply.value(8, |out| out.int(7))?;
        assert_eq!(reply.finish()?, b"%1\r\n$1\r\nk\r\n*2\r\n*0\r\n:7\r\n");
        assert_eq!(reply.value(0, Encoder::null), Err(ReplyError::Complete));
        assert_eq!(reply.array(0), Err(ReplyError::Complete));
        reply.begin(Protocol::Resp2, 1000);
        assert_eq!(reply.finish()?, b"+OK\r\n");
        assert_eq!(reply.finish()?, b"+OK\r\n");
        Ok(())
    }

    #[test]
    fn depth_length_and_count_are_bounded() -> Result<(), ReplyError> {
        let mut reply = begun(usize::MAX);
        for _ in 0..DEPTH_MAX {
            reply.array(1)?;
        }
        assert_eq!(reply.array(1), Err(ReplyError::TooDeep));
        assert_eq!(reply.array(-1), Err(ReplyError::Count { count: -1 }));
        reply.value(1, Encoder::null)?;
        assert!(reply.finish().is_ok());

        let mut short = begun(20);
        assert_eq!(
            short.value(21, |_| panic!("nothing is written")),
            Err(ReplyError::TooLong { limit_bytes: 20 })
        );
        Ok(())
    }
}
