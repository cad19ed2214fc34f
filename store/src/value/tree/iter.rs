//! Iterates over a counted tree from both ends.

use super::Tree;
use crate::value::steps;

/// The pairs of a range of positions. Finds each leaf once, by its position.
pub(crate) struct Iter<'t, K, V> {
    tree: &'t Tree<K, V>,
    start: usize,
    end: usize,
    /// Rest of the leaf that contains `start`.
    front: &'t [(K, V)],
    /// Rest, up to `end`, of the leaf that contains `end - 1`.
    back: &'t [(K, V)],
}

impl<'t, K: Clone, V: Clone> Iter<'t, K, V> {
    pub(crate) fn new(tree: &'t Tree<K, V>, start: usize, end: usize) -> Self {
        Self {
            tree,
            start: start.min(end),
            end,
            front: &[],
            back: &[],
        }
    }
}

impl<'t, K: Clone, V: Clone> Iterator for Iter<'t, K, V> {
    type Item = (&'t K, &'t V);

    fn next(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        if self.front.is_empty() {
            let (pairs, at) = self.tree.leaf(self.start)?;
            self.front = &pairs[at..];
        }
        let ((key, value), rest) = self.front.split_first()?;
        self.front = rest;
        self.start += 1;
        steps::count(1);
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.end - self.start;
        (len, Some(len))
    }
}

impl<K: Clone, V: Clone> ExactSizeIterator for Iter<'_, K, V> {}

impl<K: Clone, V: Clone> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        if self.back.is_empty() {
            let (pairs, at) = self.tree.leaf(self.end - 1)?;
            self.back = &pairs[..=at];
        }
        let ((key, value), rest) = self.back.split_last()?;
        self.back = rest;
        self.end -= 1;
        steps::count(1);
        Some((key, value))
    }
}
