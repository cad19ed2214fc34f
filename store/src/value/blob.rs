//! Byte strings, short ones in place and long ones shared: keys, fields, members and elements.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use crate::value::steps;

/// Bytes that fit beside the tag and the length of a 24-byte value.
const INLINE_LEN_MAX: usize = 22;

/// An immutable byte string of 24 bytes.
///
/// Up to [`INLINE_LEN_MAX`] bytes live in place, so that small keys and values cost no allocation
/// and no reference count; longer ones are shared, so that a copy never copies the bytes.
#[derive(Clone)]
pub(crate) enum Blob {
    Inline {
        len: u8,
        bytes: [u8; INLINE_LEN_MAX],
    },
    Shared(Arc<[u8]>),
}

impl Blob {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE_LEN_MAX {
            let mut inline = [0; INLINE_LEN_MAX];
            inline[..bytes.len()].copy_from_slice(bytes);
            // The length was just bounded by a constant below 256.
            Self::Inline {
                len: bytes.len() as u8,
                bytes: inline,
            }
        } else {
            steps::bytes(bytes.len());
            Self::Shared(Arc::from(bytes))
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Borrow<[u8]> for Blob {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Default for Blob {
    fn default() -> Self {
        Self::new(b"")
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Blob {}

impl Hash for Blob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl PartialOrd for Blob {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Blob {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        steps::bytes(self.len().min(other.len()));
        self.as_slice().cmp(other.as_slice())
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.as_slice().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_boundary_between_inline_and_shared() {
        for len in [
            0,
            1,
            INLINE_LEN_MAX - 1,
            INLINE_LEN_MAX,
            INLINE_LEN_MAX + 1,
            300,
        ] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let blob = Blob::new(&bytes);
            assert_eq!(blob.as_slice(), &bytes[..]);
            assert_eq!(matches!(blob, Blob::Inline { .. }), len <= INLINE_LEN_MAX);
        }
        assert_eq!(size_of::<Blob>(), 24);
    }
}
