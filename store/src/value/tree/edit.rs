//! Changes of the counted tree, all by position.

use std::sync::Arc;

use super::Tree;
use crate::value::steps;

use super::node::{self, BRANCH_LEN_MAX, Child, LEAF_LEN_MAX, Node};

/// Position at which a full node is split: at an end if the tree grows there, so that lists with
/// pushes alone have full leaves, otherwise in the middle.
#[derive(Clone, Copy)]
enum Growth {
    Front,
    Middle,
    Back,
}

impl Growth {
    fn cut(self, len: usize) -> usize {
        match self {
            Self::Front => 1,
            Self::Middle => len / 2,
            Self::Back => len - 1,
        }
    }
}

impl<K: Clone, V: Clone> Tree<K, V> {
    /// The value at a position, to be changed in place.
    pub(crate) fn at_mut(&mut self, mut index: usize) -> Option<&mut V> {
        if index >= self.len {
            return None;
        }
        let mut node = Arc::make_mut(&mut self.root);
        loop {
            match node {
                Node::Leaf(pairs) => return pairs.get_mut(index).map(|(_, value)| value),
                Node::Branch(children) => {
                    let (at, rest) = node::child_at(children, index);
                    index = rest;
                    node = Arc::make_mut(&mut children[at].node);
                }
            }
        }
    }

    /// Inserts a pair before the one at `index`, which is at most the length.
    pub(crate) fn insert_at(&mut self, index: usize, key: K, value: V) {
        let index = index.min(self.len);
        let growth = match index {
            _ if index == self.len => Growth::Back,
            0 => Growth::Front,
            _ => Growth::Middle,
        };
        let len = self.len;
        let root = Arc::make_mut(&mut self.root);
        let first = (!matches!(root, Node::Leaf(pairs) if pairs.len() < LEAF_LEN_MAX))
            .then(|| first_key(root).clone());
        if let Some(right) = insert(root, index, (key, value), growth) {
            // Only a full node is split, so its first key was cloned above.
            let Some(first) = first else { return };
            let left = std::mem::replace(root, Node::Leaf(Vec::new()));
            let left_len = len + 1 - right.len;
            *root = Node::Branch(vec![
                Child {
                    first,
                    len: left_len,
                    node: Arc::new(left),
                },
                right,
            ]);
        }
        self.len += 1;
    }

    /// Removes the pair at a position.
    pub(crate) fn remove_at(&mut self, index: usize) -> Option<(K, V)> {
        if index >= self.len {
            return None;
        }
        let pair = remove(Arc::make_mut(&mut self.root), index)?;
        self.len -= 1;
        while let Node::Branch(children) = &*self.root
            && let [only] = &children[..]
        {
            self.root = Arc::clone(&only.node);
        }
        Some(pair)
    }
}

fn first_key<K, V>(mut node: &Node<K, V>) -> &K {
    loop {
        match node {
            Node::Leaf(pairs) => return &pairs[0].0,
            Node::Branch(children) => node = &children[0].node,
        }
    }
}

/// Inserts below a node that is not shared; returns the right half if the node was split.
fn insert<K: Clone, V: Clone>(
    node: &mut Node<K, V>,
    index: usize,
    pair: (K, V),
    growth: Growth,
) -> Option<Child<K, V>> {
    steps::count(2);
    match node {
        Node::Leaf(pairs) => {
            pairs.insert(index, pair);
            if pairs.len() <= LEAF_LEN_MAX {
                return None;
            }
            let right = pairs.split_off(growth.cut(pairs.len()));
            let first = right[0].0.clone();
            Some(Child {
                first,
                len: right.len(),
                node: Arc::new(Node::Leaf(right)),
            })
        }
        Node::Branch(children) => {
            let (at, rest) = node::child_at(children, index);
            let child = &mut children[at];
            if rest == 0 {
                // Its bound may be above the new key.
                child.first = pair.0.clone();
            }
            let grown = insert(Arc::make_mut(&mut child.node), rest, pair, growth);
            child.len += 1;
            let right = grown?;
            child.len -= right.len;
            children.insert(at + 1, right);
            if children.len() <= BRANCH_LEN_MAX {
                return None;
            }
            let right = children.split_off(growth.cut(children.len()));
            Some(Child {
                first: right[0].first.clone(),
                len: right.iter().map(|child| child.len).sum(),
                node: Arc::new(Node::Branch(right)),
            })
        }
    }
}

/// Removes below a node that is not shared. Merges sparse children into a neighbour.
fn remove<K: Clone, V: Clone>(node: &mut Node<K, V>, index: usize) -> Option<(K, V)> {
    steps::count(2);
    match node {
        Node::Leaf(pairs) => (index < pairs.len()).then(|| pairs.remove(index)),
        Node::Branch(children) => {
            let (at, rest) = node::child_at(children, index);
            let child = &mut children[at];
            let pair = remove(Arc::make_mut(&mut child.node), rest)?;
            child.len -= 1;
            if child.len == 0 && children.len() > 1 {
                children.remove(at);
            } else if children[at].node.is_sparse() {
                merge_with_neighbour(children, at);
            }
            Some(pair)
        }
    }
}

fn merge_with_neighbour<K: Clone, V: Clone>(children: &mut Vec<Child<K, V>>, at: usize) {
    let fits = |left: usize| {
        children
            .get(left + 1)
            .is_some_and(|right| children[left].node.fits_with(&right.node))
    };
    let left = if fits(at) {
        at
    } else if at > 0 && fits(at - 1) {
        at - 1
    } else {
        return;
    };
    let right = children.remove(left + 1);
    let child = &mut children[left];
    child.len += right.len;
    // Both have the same height, so the other combinations do not occur.
    match (
        Arc::make_mut(&mut child.node),
        Arc::unwrap_or_clone(right.node),
    ) {
        (Node::Leaf(pairs), Node::Leaf(more)) => pairs.extend(more),
        (Node::Branch(children), Node::Branch(more)) => children.extend(more),
        (Node::Leaf(_), Node::Branch(_)) | (Node::Branch(_), Node::Leaf(_)) => {}
    }
}
