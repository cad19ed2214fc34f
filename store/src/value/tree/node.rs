//! Nodes of the counted tree, and the search for the child to descend into.

use std::cmp::Ordering;
use std::sync::Arc;

/// Most pairs of a leaf: large enough that the pointers above cost little, small enough that
/// copying a shared leaf stays below a microsecond.
pub(crate) const LEAF_LEN_MAX: usize = 64;
/// Most children of a branch.
pub(crate) const BRANCH_LEN_MAX: usize = 32;

#[derive(Clone, Debug)]
pub(crate) enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    /// At least one child; all children have the same height.
    Branch(Vec<Child<K, V>>),
}

#[derive(Clone, Debug)]
pub(crate) struct Child<K, V> {
    /// At most any key of this child, and above every key of the children before it. It may be
    /// below the child's first key once that pair has been removed.
    pub(crate) first: K,
    /// Pairs below this child.
    pub(crate) len: usize,
    pub(crate) node: Arc<Node<K, V>>,
}

/// The child that contains the target, or would contain it.
pub(crate) fn child_for<K, V>(children: &[Child<K, V>], compare: impl Fn(&K) -> Ordering) -> usize {
    // The first child also takes keys below its own bound.
    children[1..].partition_point(|child| compare(&child.first) != Ordering::Greater)
}

/// The child that contains a position, and the position inside it. One past the end is the last's.
pub(crate) fn child_at<K, V>(children: &[Child<K, V>], mut index: usize) -> (usize, usize) {
    let last = children.len() - 1;
    for (at, child) in children[..last].iter().enumerate() {
        if index < child.len {
            return (at, index);
        }
        index -= child.len;
    }
    (last, index)
}

impl<K, V> Node<K, V> {
    /// Pairs of a leaf or children of a branch.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Leaf(pairs) => pairs.len(),
            Self::Branch(children) => children.len(),
        }
    }

    /// Returns true if this node and its right neighbour, of the same height, fit into one.
    pub(crate) fn fits_with(&self, right: &Self) -> bool {
        let most = match self {
            Self::Leaf(_) => LEAF_LEN_MAX,
            Self::Branch(_) => BRANCH_LEN_MAX,
        };
        self.width() + right.width() <= most
    }

    /// Returns true if so few entries are left that a neighbour should take them.
    pub(crate) fn is_sparse(&self) -> bool {
        match self {
            Self::Leaf(pairs) => pairs.len() < LEAF_LEN_MAX / 4,
            Self::Branch(children) => children.len() < BRANCH_LEN_MAX / 4,
        }
    }
}
