//! A counted, structurally shared B+-tree: the structure of every large collection.
//!
//! One structure serves hashes, sets, lists and sorted sets: a sequence of `(K, V)` pairs in which
//! every branch knows the number of pairs below it. So the n-th pair, the rank of a pair and a
//! random pair cost O(log n), and a copy of the whole costs one reference count. A writer changes
//! unshared nodes in place, and copies the path to a change in shared ones. No library under a
//! licence we accept has ranks and sharing in one ordered structure, so this one is ours.

mod edit;
mod iter;
mod node;

use std::cmp::Ordering;
use std::sync::Arc;

pub(crate) use iter::Iter;
use node::Node;

use crate::value::steps;

/// A sequence of pairs, ordered by the caller's comparisons. Lists use `K = ()`.
#[derive(Clone, Debug)]
pub(crate) struct Tree<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
}

impl<K: Clone, V: Clone> Default for Tree<K, V> {
    fn default() -> Self {
        Self {
            root: Arc::new(Node::Leaf(Vec::new())),
            len: 0,
        }
    }
}

impl<K: Clone, V: Clone> Tree<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of pairs before the target: `Ok` if the target exists, `Err` if not.
    ///
    /// `compare` compares a key to the target; the tree must be ordered by it.
    pub(crate) fn rank(&self, compare: impl Fn(&K) -> Ordering) -> Result<usize, usize> {
        let mut node = &*self.root;
        let mut before = 0;
        loop {
            steps::count(1);
            match node {
                Node::Leaf(pairs) => {
                    return match pairs.binary_search_by(|(key, _)| compare(key)) {
                        Ok(at) => Ok(before + at),
                        Err(at) => Err(before + at),
                    };
                }
                Node::Branch(children) => {
                    let at = node::child_for(children, &compare);
                    before += children[..at].iter().map(|child| child.len).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// The pair for which `compare` returns `Equal`.
    pub(crate) fn get(&self, compare: impl Fn(&K) -> Ordering) -> Option<(&K, &V)> {
        let mut node = &*self.root;
        loop {
            steps::count(1);
            match node {
                Node::Leaf(pairs) => {
                    let at = pairs.binary_search_by(|(key, _)| compare(key)).ok()?;
                    let (key, value) = &pairs[at];
                    return Some((key, value));
                }
                Node::Branch(children) => {
                    node = &children[node::child_for(children, &compare)].node;
                }
            }
        }
    }

    /// The pair at a position.
    pub(crate) fn at(&self, index: usize) -> Option<(&K, &V)> {
        let (pairs, at) = self.leaf(index)?;
        pairs.get(at).map(|(key, value)| (key, value))
    }

    /// The leaf that contains a position, and the position inside it.
    fn leaf(&self, mut index: usize) -> Option<(&[(K, V)], usize)> {
        if index >= self.len {
            return None;
        }
        let mut node = &*self.root;
        loop {
            steps::count(1);
            match node {
                Node::Leaf(pairs) => return Some((pairs, index)),
                Node::Branch(children) => {
                    let (at, rest) = node::child_at(children, index);
                    index = rest;
                    node = &children[at].node;
                }
            }
        }
    }

    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        self.range(0, self.len)
    }

    /// The pairs at `start..end`, for iteration from both ends. Positions past the end are cut off.
    pub(crate) fn range(&self, start: usize, end: usize) -> Iter<'_, K, V> {
        Iter::new(self, start, end.min(self.len))
    }
}

impl<K: Clone, V: Clone> FromIterator<(K, V)> for Tree<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut tree = Self::default();
        for (key, value) in pairs {
            tree.insert_at(tree.len, key, value);
        }
        tree
    }
}

#[cfg(test)]
mod tests;
