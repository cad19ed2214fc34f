//! The last result that was longer than the guest's buffer, kept for `take`.

use ferrite_wasm_abi::Status;

use crate::call::input::CallInput;

/// The last result that was longer than the guest's buffer.
#[derive(Debug, Default)]
pub(crate) struct Overflow {
    stored: Stored,
    bytes: Vec<u8>,
    bytes_max: usize,
}

/// Location of the result. Keys and arguments are not copied.
#[derive(Clone, Copy, Debug, Default)]
enum Stored {
    #[default]
    Nothing,
    Key(usize),
    Arg(usize),
    Bytes,
}

/// The origin of a result; keys and arguments need not be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultSource {
    /// A key of the call.
    Key(usize),
    /// An argument of the call.
    Arg(usize),
    /// Bytes that do not outlive the host call.
    Data,
}

impl Overflow {
    /// Discards the last call's result; no result of this call may be longer than `bytes_max`.
    pub(crate) fn begin(&mut self, bytes_max: usize) {
        self.stored = Stored::Nothing;
        self.bytes_max = bytes_max;
    }

    /// Returns the longest result that can be kept, in bytes.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Frees capacity beyond `bytes_max`.
    pub(crate) fn shrink_to(&mut self, bytes_max: usize) {
        self.stored = Stored::Nothing;
        self.bytes.clear();
        if self.bytes.capacity() > bytes_max {
            self.bytes.shrink_to(bytes_max);
        }
    }

    /// Copies as much of `result` as fits into `buffer`, and keeps the result if it did not fit.
    /// Returns the full length, or `LIMIT` if the result is too long to keep.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        result: &[u8],
        buffer: &mut [u8],
        source: ResultSource,
    ) -> i32 {
        let Ok(len) = i32::try_from(result.len()) else {
            return Status::Limit.code();
        };
        if let Some(start) = buffer.get_mut(..result.len()) {
            start.copy_from_slice(result);
            return len;
        }
        self.keep(result, buffer, source, len)
    }

    #[cold]
    fn keep(&mut self, result: &[u8], buffer: &mut [u8], source: ResultSource, len: i32) -> i32 {
        self.stored = match source {
            ResultSource::Key(index) => Stored::Key(index),
            ResultSource::Arg(index) => Stored::Arg(index),
            ResultSource::Data => {
                if result.len() > self.bytes_max {
                    return Status::Limit.code();
                }
                self.bytes.clear();
                self.bytes.extend_from_slice(result);
                Stored::Bytes
            }
        };
        buffer.copy_from_slice(&result[..buffer.len()]);
        len
    }

    /// Returns the length of the kept result, in bytes; 0 if there is none.
    pub(crate) fn len(&self, input: &CallInput) -> usize {
        self.result(input).map_or(0, <[u8]>::len)
    }

    fn result<'r>(&'r self, input: &'r CallInput) -> Option<&'r [u8]> {
        match self.stored {
            Stored::Nothing => None,
            Stored::Key(index) => input.key(index),
            Stored::Arg(index) => input.arg(index),
            Stored::Bytes => Some(&self.bytes[..]),
        }
    }

    /// Copies the part of the result from `offset` on into `buffer`. Returns the number of bytes
    /// copied, or `NOT_FOUND` if no result was kept.
    pub(crate) fn take(&self, input: &CallInput, offset: usize, buffer: &mut [u8]) -> i32 {
        let Some(result) = self.result(input) else {
            return Status::NotFound.code();
        };
        let rest = result.get(offset..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        // Results longer than `i32::MAX` are never kept.
        i32::try_from(len).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use ferrite_wasm_abi::Status;

    use super::{Overflow, ResultSource};
    use crate::call::input::CallInput;

    #[test]
    fn what_does_not_fit_is_taken_in_pieces() {
        let mut overflow = Overflow::default();
        overflow.begin(100);
        let input = CallInput::default();
        let mut buffer = [0; 4];
        assert_eq!(
            overflow.take(&input, 0, &mut buffer),
            Status::NotFound.code()
        );
        assert_eq!(
            overflow.deliver(b"0123456789", &mut buffer, ResultSource::Data),
            10
        );
        assert_eq!(&buffer, b"0123");
        assert_eq!(overflow.take(&input, 4, &mut buffer), 4);
        assert_eq!(&buffer, b"4567");
        assert_eq!(overflow.deliver(b"ab", &mut buffer, ResultSource::Data), 2);
        assert_eq!(
            overflow.take(&input, 8, &mut buffer),
            2,
            "a short result leaves it"
        );
        assert_eq!(&buffer[..2], b"89");
        assert_eq!(overflow.take(&input, 10, &mut buffer), 0);
        assert_eq!(overflow.take(&input, usize::MAX, &mut buffer), 0);
    }

    #[test]
    fn too_long_a_result_is_neither_kept_nor_delivered() {
        let mut overflow = Overflow::default();
        overflow.begin(3);
        let mut buffer = [b'-'; 2];
        assert_eq!(
            overflow.deliver(b"1234", &mut buffer, ResultSource::Data),
            Status::Limit.code()
        );
        assert_eq!(&buffer, b"--");
    }

    #[test]
    fn keys_and_arguments_are_not_copied() {
        let mut overflow = Overflow::default();
        overflow.begin(0);
        let mut input = CallInput::default();
        input.set(&[b"a key"], &[b"an argument"]);
        let mut buffer = [0; 2];
        assert_eq!(
            overflow.deliver(b"a key", &mut buffer, ResultSource::Key(0)),
            5
        );
        assert_eq!(overflow.take(&input, 2, &mut buffer), 2);
        assert_eq!(&buffer, b"ke");
        assert_eq!(
            overflow.deliver(b"an argument", &mut buffer, ResultSource::Arg(0)),
            11
        );
        assert_eq!(overflow.take(&input, 3, &mut buffer), 2);
        assert_eq!(&buffer, b"ar");
    }
}
