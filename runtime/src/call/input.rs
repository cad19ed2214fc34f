//! The keys and arguments of one call, in memory that the call's state owns.

/// Keys and arguments, copied into one buffer that is used again by the next call.
///
/// The copy is what lets a request borrow from its connection's read buffer although a guest's
/// store must own everything it holds.
#[derive(Debug, Default)]
pub(crate) struct CallInput {
    bytes: Vec<u8>,
    /// End of each key, then end of each argument.
    ends: Vec<usize>,
    keys: usize,
}

impl CallInput {
    /// Replaces the input.
    pub(crate) fn set(&mut self, keys: &[&[u8]], args: &[&[u8]]) {
        self.bytes.clear();
        self.ends.clear();
        for part in keys.iter().chain(args) {
            self.bytes.extend_from_slice(part);
            self.ends.push(self.bytes.len());
        }
        self.keys = keys.len();
    }

    /// Returns the number of keys.
    #[must_use]
    pub(crate) fn key_count(&self) -> usize {
        self.keys
    }

    /// Returns the number of arguments.
    #[must_use]
    pub(crate) fn arg_count(&self) -> usize {
        self.ends.len() - self.keys
    }

    /// A key.
    #[must_use]
    pub(crate) fn key(&self, index: usize) -> Option<&[u8]> {
        (index < self.keys).then(|| self.part(index)).flatten()
    }

    /// An argument.
    #[must_use]
    pub(crate) fn arg(&self, index: usize) -> Option<&[u8]> {
        self.part(self.keys.checked_add(index)?)
    }

    /// Every key in order.
    pub(crate) fn keys(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.keys).map(|index| self.part(index).unwrap_or_default())
    }

    /// Every argument in order.
    pub(crate) fn args(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (self.keys..self.ends.len()).map(|index| self.part(index).unwrap_or_default())
    }

    /// Forgets everything, and gives up capacity beyond `bytes_max`.
    pub(crate) fn shrink_to(&mut self, bytes_max: usize) {
        self.bytes.clear();
        self.ends.clear();
        self.keys = 0;
        if self.bytes.capacity() > bytes_max {
            self.bytes.shrink_to(bytes_max);
        }
        if self.ends.capacity() * size_of::<usize>() > bytes_max {
            self.ends.shrink_to(bytes_max / size_of::<usize>());
        }
    }

    fn part(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.bytes.get(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::CallInput;

    #[test]
    fn keys_and_arguments_are_found_by_index() {
        let mut input = CallInput::default();
        input.set(&[b"k", b""], &[b"", b"arg"]);
        assert_eq!((input.key_count(), input.arg_count()), (2, 2));
        assert_eq!(input.key(0), Some(&b"k"[..]));
        assert_eq!(input.key(1), Some(&b""[..]));
        assert_eq!(input.key(2), None);
        assert_eq!(input.arg(0), Some(&b""[..]));
        assert_eq!(input.arg(1), Some(&b"arg"[..]));
        assert_eq!(input.arg(2), None);
        assert_eq!(input.arg(usize::MAX), None);
        assert_eq!(input.keys().collect::<Vec<_>>(), [&b"k"[..], b""]);
        assert_eq!(input.args().collect::<Vec<_>>(), [&b""[..], b"arg"]);
        input.set(&[], &[]);
        assert_eq!(input.key(0), None);
        assert_eq!(input.arg(0), None);
    }
}
