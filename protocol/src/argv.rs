//! Words of a command that outlive the request they came with.

use smallvec::SmallVec;

/// Bytes that a length takes.
const LEN_BYTES: usize = size_of::<u64>();

/// Words of a command that are borrowed from elsewhere.
pub type Words<'w> = SmallVec<[&'w [u8]; 8]>;

/// The words of a command, copied into one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedArgv {
    /// Each word after its length, in eight bytes.
    packed: Box<[u8]>,
}

impl OwnedArgv {
    /// Copies words.
    #[must_use]
    pub fn new(words: &[&[u8]]) -> Self {
        let len = words.iter().map(|word| LEN_BYTES + word.len()).sum();
        let mut packed = Vec::with_capacity(len);
        for word in words {
            packed.extend_from_slice(&(word.len() as u64).to_ne_bytes());
            packed.extend_from_slice(word);
        }
        Self {
            packed: packed.into_boxed_slice(),
        }
    }

    /// Returns the words, in order.
    #[must_use]
    pub fn words(&self) -> Words<'_> {
        let mut words = Words::new();
        let mut rest = &*self.packed;
        while let Some((len, after)) = rest.split_first_chunk::<LEN_BYTES>() {
            let len = usize::try_from(u64::from_ne_bytes(*len)).unwrap_or(usize::MAX);
            // `new` wrote each length with its word.
            let (word, next) = after.split_at(len.min(after.len()));
            words.push(word);
            rest = next;
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::OwnedArgv;

    #[test]
    fn words_come_back_as_they_were() {
        let long = vec![7; 70_000];
        for words in [
            &[][..],
            &[b"" as &[u8]],
            &[b"SET", b"k", b""],
            &[b"", b"", &long, b"\x01\0\0\0\0\0\0\0"],
            &[b"MGET" as &[u8]; 40],
        ] {
            let owned = OwnedArgv::new(words);
            assert_eq!(&*owned.words(), words);
            assert_eq!(owned, OwnedArgv::new(&owned.words()));
        }
    }
}
