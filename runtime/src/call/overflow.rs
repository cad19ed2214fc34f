//! The last result that was longer than the guest's buffer, kept for `take`.

use ferrite_wasm_abi::Status;

use crate::call::input::Input;

/// The last result that was longer than the guest's buffer.
#[derive(Debug, Default)]
pub(crate) struct LongResult {
    kept: Kept,
    bytes: Vec<u8>,
    bytes_max: usize,
}

/// Where the result is. Keys and arguments stay where they are.
#[derive(Clone, Copy, Debug, Default)]
enum Kept {
    #[default]
    Nothing,
    Key(usize),
    Arg(usize),
    Bytes,
}

/// What a result is, for one that need not be copied to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A key of the call.
    Key(usize),
    /// An argument of the call.
    Arg(usize),
    /// Bytes that will be gone.
    Data,
}

impl LongResult {
    /// Forgets the last call's result; no result of this one may be longer than `bytes_max`.
    pub(crate) fn begin(&mut self, bytes_max: usize) {
        self.kept = Kept::Nothing;
        self.bytes_max = bytes_max;
    }

    /// Gives up capacity beyond `bytes_max`.
    pub(crate) fn shrink_to(&mut self, bytes_max: usize) {
        self.kept = Kept::Nothing;
        self.bytes.clear();
        if self.bytes.capacity() > bytes_max {
            self.bytes.shrink_to(bytes_max);
        }
    }

    /// Fills `buffer` with the beginning of `result`, keeps the result if that was not all, and
    /// answers its full length, or `LIMIT` where it is longer than a result may be.
    #[inline]
    pub(crate) fn deliver(&mut self, result: &[u8], buffer: &mut [u8], source: Source) -> i32 {
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
    fn keep(&mut self, result: &[u8], buffer: &mut [u8], source: Source, len: i32) -> i32 {
        self.kept = match source {
            Source::Key(index) => Kept::Key(index),
            Source::Arg(index) => Kept::Arg(index),
            Source::Data => {
                if result.len() > self.bytes_max {
                    return Status::Limit.code();
                }
                self.bytes.clear();
                self.bytes.extend_from_slice(result);
                Kept::Bytes
            }
        };
        buffer.copy_from_slice(&result[..buffer.len()]);
        len
    }

    /// Length of the kept result, in bytes; 0 where none was too long.
    pub(crate) fn len(&self, input: &Input) -> usize {
        self.result(input).map_or(0, <[u8]>::len)
    }

    fn result<'r>(&'r self, input: &'r Input) -> Option<&'r [u8]> {
        match self.kept {
            Kept::Nothing => None,
            Kept::Key(index) => input.key(index),
            Kept::Arg(index) => input.arg(index),
            Kept::Bytes => Some(&self.bytes[..]),
        }
    }

    /// Fills `buffer` with what the result has from `offset` on; the bytes that were copied, or
    /// `NOT_FOUND` where no result was too long.
    pub(crate) fn take(&self, input: &Input, offset: usize, buffer: &mut [u8]) -> i32 {
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

    use super::{LongResult, Source};
    use crate::call::input::Input;

    #[test]
    fn what_does_not_fit_is_taken_in_pieces() {
        let mut long = LongResult::default();
        long.begin(100);
        let input = Input::default();
        let mut buffer = [0; 4];
        assert_eq!(long.take(&input, 0, &mut buffer), Status::NotFound.code());
        assert_eq!(long.deliver(b"0123456789", &mut buffer, Source::Data), 10);
        assert_eq!(&buffer, b"0123");
        assert_eq!(long.take(&input, 4, &mut buffer), 4);
        assert_eq!(&buffer, b"4567");
        assert_eq!(long.deliver(b"ab", &mut buffer, Source::Data), 2);
        assert_eq!(
            long.take(&input, 8, &mut buffer),
            2,
            "a short result leaves it"
        );
        assert_eq!(&buffer[..2], b"89");
        assert_eq!(long.take(&input, 10, &mut buffer), 0);
        assert_eq!(long.take(&input, usize::MAX, &mut buffer), 0);
    }

    #[test]
    fn too_long_a_result_is_neither_kept_nor_delivered() {
        let mut long = LongResult::default();
        long.begin(3);
        let mut buffer = [b'-'; 2];
        assert_eq!(
            long.deliver(b"1234", &mut buffer, Source::Data),
            Status::Limit.code()
        );
        assert_eq!(&buffer, b"--");
    }

    #[test]
    fn keys_and_arguments_are_not_copied() {
        let mut long = LongResult::default();
        long.begin(0);
        let mut input = Input::default();
        input.set(&[b"a key"], &[b"an argument"]);
        let mut buffer = [0; 2];
        assert_eq!(long.deliver(b"a key", &mut buffer, Source::Key(0)), 5);
        assert_eq!(long.take(&input, 2, &mut buffer), 2);
        assert_eq!(&buffer, b"ke");
        assert_eq!(
            long.deliver(b"an argument", &mut buffer, Source::Arg(0)),
            11
        );
        assert_eq!(long.take(&input, 3, &mut buffer), 2);
        assert_eq!(&buffer, b"ar");
    }
}
