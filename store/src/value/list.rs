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
        Self { elements, first: 0 }
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
