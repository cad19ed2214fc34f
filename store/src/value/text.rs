//! String values: set as a whole, or grown in place.

use std::ops::Range;
use std::sync::Arc;

use crate::value::blob::Blob;
use crate::value::steps;

/// Bytes of a page of a string on disk: an edit writes the pages that it touches.
pub(crate) const PAGE_LEN: usize = 1024;
/// Length from which a string that is edited is stored in pages. A shorter one is written whole.
const PAGED_LEN_MIN: usize = 4 * PAGE_LEN;
/// Length from which a string whose deadline changes is stored in pages, so that the next change of
/// its deadline does not write the bytes again.
const PAGED_FOR_DEADLINE_LEN_MIN: usize = 64 * PAGE_LEN;

/// A string value.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    /// As set.
    Whole(Blob),
    /// Changed in place, as by `APPEND` or `SETBIT`; has spare capacity.
    Grown {
        /// The id under which its pages are on disk; 0 if the disk has it in one piece.
        id: u64,
        bytes: Arc<Vec<u8>>,
    },
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

    /// A string that is on disk in pages, under this id.
    pub(crate) fn paged(id: u64, bytes: Vec<u8>) -> Self {
        Self::Grown {
            id,
            bytes: Arc::new(bytes),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Whole(blob) => blob.as_slice(),
            Self::Grown { bytes, .. } => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// The id under which its pages are on disk; 0 if the disk has it in one piece.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Whole(_) => 0,
            Self::Grown { id, .. } => *id,
        }
    }

    /// The same bytes as an independent string, which the disk has in one piece.
    pub(crate) fn separate(&self) -> Self {
        match self {
            Self::Whole(blob) => Self::Whole(blob.clone()),
            Self::Grown { bytes, .. } => Self::Grown {
                id: 0,
                bytes: Arc::clone(bytes),
            },
        }
    }

    /// Returns true if an edit should give it pages on disk.
    pub(crate) fn wants_pages(&self) -> bool {
        self.id() == 0 && self.len() >= PAGED_LEN_MIN
    }

    /// Returns true if a change of its deadline should give it pages on disk.
    pub(crate) fn wants_pages_for_deadline(&self) -> bool {
        self.id() == 0 && self.len() >= PAGED_FOR_DEADLINE_LEN_MIN
    }

    /// Sets the id under which the pages will be on disk. The caller writes all of them.
    pub(crate) fn set_id(&mut self, new: u64) {
        match self {
            Self::Whole(blob) => *self = Self::paged(new, blob.to_vec()),
            Self::Grown { id, .. } => *id = new,
        }
    }

    /// All pages, in order; none if the disk has it in one piece.
    pub(crate) fn pages(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let paged = if self.id() == 0 { &[] } else { self.as_slice() };
        paged.chunks(PAGE_LEN)
    }

    /// The page with this number; it is empty past the end.
    pub(crate) fn page(&self, number: usize) -> &[u8] {
        let rest = self.as_slice().get(number * PAGE_LEN..).unwrap_or(&[]);
        &rest[..rest.len().min(PAGE_LEN)]
    }

    /// Number of bytes that the next edit copies, besides those that it changes: all, unless this is
    /// the only copy of a text that was edited before.
    pub(crate) fn copied_by_an_edit(&self) -> usize {
        match self {
            Self::Grown { bytes, .. } if Arc::strong_count(bytes) == 1 => 0,
            text => text.len(),
        }
    }

    /// The bytes, to be changed in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        if let Self::Whole(blob) = self {
            *self = Self::Grown {
                id: 0,
                bytes: Arc::new(blob.to_vec()),
            };
        }
        steps::bytes(self.copied_by_an_edit());
        match self {
            Self::Grown { bytes, .. } => Arc::make_mut(bytes),
            Self::Whole(_) => unreachable!("a whole text was made a grown one just above"),
        }
    }
}

/// Numbers of the pages that a range of bytes touches.
pub(crate) fn pages_of(bytes: &Range<usize>) -> Range<usize> {
    if bytes.is_empty() {
        return 0..0;
    }
    bytes.start / PAGE_LEN..(bytes.end - 1) / PAGE_LEN + 1
}
