//! String values: set as a whole, or grown in place.

use std::sync::Arc;

use crate::value::blob::Blob;
use crate::value::steps;

/// A string value.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    /// As set.
    Whole(Blob),
    /// Changed in place, as by `APPEND` or `SETBIT`; has spare capacity.
    Grown(Arc<Vec<u8>>),
}

impl Default for Text {
    fn default() -> Self {
        Self::Whole(Blob::default())
    }
}

impl Text {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self::Whole(Blob::new(bytes))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Whole(blob) => blob.as_slice(),
            Self::Grown(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Number of bytes that the next edit copies, besides those that it changes: all, unless this is
    /// the only copy of a text that was edited before.
    pub(crate) fn copied_by_an_edit(&self) -> usize {
        match self {
            Self::Grown(bytes) if Arc::strong_count(bytes) == 1 => 0,
            text => text.len(),
        }
    }

    /// The bytes, to be changed in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        if let Self::Whole(blob) = self {
            *self = Self::Grown(Arc::new(blob.to_vec()));
        }
        steps::bytes(self.copied_by_an_edit());
        match self {
            Self::Grown(bytes) => Arc::make_mut(bytes),
            Self::Whole(_) => unreachable!("a whole text was made a grown one just above"),
        }
    }
}
