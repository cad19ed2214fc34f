//! Lists.

use crate::value::blob::Blob;
use crate::value::tree::{Iter, Tree};

/// A sequence of byte strings with fast access to both ends and to positions.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    elements: Tree<(), Blob>,
    /// The name on disk of the first element; each next element has the next number. Pushing to the
    /// front counts down, so both ends grow without renaming elements.
    pub(crate) first: i64,
    /// The edits on disk that lead from the elements there to these.
    pub(crate) log: EditLog,
}

/// Size of the edits on disk that follow a list's elements.
///
/// The first edit that would rename many elements begins a log; from then on every change is logged.
/// [`List::log_is_too_long`] ends it, and the list is written anew.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EditLog {
    /// Number of edits; the next one has this number.
    pub(crate) len: u64,
    pub(crate) bytes: u64,
    /// Bytes at which the list's own are counted.
    bytes_checked: u64,
}

/// Edits that a log may have beside half of the list's length.
const LOG_LEN_MIN: u64 = 128;
/// Bytes that a log may have, however short the list is.
const LOG_BYTES_MIN: u64 = 1 << 20;

/// A change of a list by position.
#[derive(Clone, Debug)]
pub(crate) enum ListEdit {
    /// An element was inserted before the one at this index.
    Insert { index: usize, element: Blob },
    /// The element at this index was replaced.
    Set { index: usize, element: Blob },
    /// The element at this index was removed.
    Remove { index: usize },
    /// Only the elements at `start..end` are left.
    Keep { start: usize, end: usize },
}

impl ListEdit {
    /// Bytes of its element.
    pub(crate) fn element_len(&self) -> usize {
        match self {
            Self::Insert { element, .. } | Self::Set { element, .. } => element.len(),
            Self::Remove { .. } | Self::Keep { .. } => 0,
        }
    }
}

/// One end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Left,
    Right,
}

impl List {
    pub(crate) fn len(&self) -> usize {
        self.elements.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Blob> {
        self.elements.at(index).map(|(_, element)| element)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Blob> {
        self.elements.at_mut(index)
    }

    pub(crate) fn insert(&mut self, index: usize, element: Blob) {
        self.elements.insert_at(index, (), element);
    }

    pub(crate) fn remove(&mut self, index: usize) -> Option<Blob> {
        self.elements.remove_at(index).map(|(_, element)| element)
    }

    /// Removes all elements outside of `start..end`, which lies inside the list.
    pub(crate) fn keep(&mut self, start: usize, end: usize) {
        let len = self.len();
        if end - start < len / 2 {
            self.elements = self
                .range(start, end)
                .map(|element| ((), element.clone()))
                .collect();
            return;
        }
        for _ in end..len {
            self.remove(self.len() - 1);
        }
        for _ in 0..start {
            self.remove(0);
        }
    }

    /// Removes the elements at these indexes, which ascend.
    pub(crate) fn remove_all(&mut self, indexes: &[usize]) {
        let mut indexes = indexes.iter().peekable();
        self.elements = self
            .iter()
            .enumerate()
            .filter(|(at, _)| indexes.next_if(|index| *index == at).is_none())
            .map(|(_, element)| ((), element.clone()))
            .collect();
    }

    /// Makes an edit and adds it to the log; returns false if there is no such position.
    pub(crate) fn apply(&mut self, edit: ListEdit) -> bool {
        let (len, bytes) = (self.len(), edit.element_len());
        match edit {
            ListEdit::Insert { index, element } if index <= len => self.insert(index, element),
            ListEdit::Set { index, element } if index < len => {
                if let Some(slot) = self.get_mut(index) {
                    *slot = element;
                }
            }
            ListEdit::Remove { index } if index < len => {
                self.remove(index);
            }
            ListEdit::Keep { start, end } if start <= end && end <= len => self.keep(start, end),
            ListEdit::Insert { .. }
            | ListEdit::Set { .. }
            | ListEdit::Remove { .. }
            | ListEdit::Keep { .. } => return false,
        }
        self.log.len += 1;
        self.log.bytes += bytes as u64;
        true
    }

    /// Returns true if the log of edits is so long that the list should be written anew: reading it
    /// back would take more than a few times as long as reading the list.
    pub(crate) fn log_is_too_long(&mut self) -> bool {
        if self.log.len > LOG_LEN_MIN + self.len() as u64 / 2 {
            return true;
        }
        if self.log.bytes <= self.log.bytes_checked.max(LOG_BYTES_MIN) {
            return false;
        }
        // Counted again only after as many more bytes.
        let bytes: u64 = self.iter().map(|element| element.len() as u64).sum();
        self.log.bytes_checked = bytes;
        self.log.bytes > bytes.max(LOG_BYTES_MIN)
    }

    /// Forgets where the disk has the list: the caller writes all of it under a new id.
    pub(crate) fn write_anew(&mut self) {
        self.first = 0;
        self.log = EditLog::default();
    }

    /// The elements at `start..end`, as an iterator from both ends.
    pub(crate) fn range(&self, start: usize, end: usize) -> Elements<'_> {
        Elements(self.elements.range(start, end))
    }

    pub(crate) fn iter(&self) -> Elements<'_> {
        self.range(0, self.len())
    }
}

impl FromIterator<Blob> for List {
    fn from_iter<I: IntoIterator<Item = Blob>>(elements: I) -> Self {
        let elements = elements.into_iter().map(|element| ((), element)).collect();
        Self {
            elements,
            first: 0,
            log: EditLog::default(),
        }
    }
}

/// Elements of a list in order.
pub(crate) struct Elements<'l>(Iter<'l, (), Blob>);

impl<'l> Iterator for Elements<'l> {
    type Item = &'l Blob;

    fn next(&mut self) -> Option<&'l Blob> {
        self.0.next().map(|(_, element)| element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Elements<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|(_, element)| element)
    }
}

impl ExactSizeIterator for Elements<'_> {}
