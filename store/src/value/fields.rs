//! Unordered maps from byte strings: hashes, sets and the scores of sorted sets.

use std::cmp::Ordering;

use crate::value::blob::Blob;
use crate::value::hashing::hash;
use crate::value::tree::{self, Tree};

/// Most pairs of a packed map, in insertion order, as Redis's listpack has them.
pub(crate) const PACKED_LEN_MAX: usize = 128;
/// Longest field or value of a packed map, in bytes.
const PACKED_BYTES_MAX: usize = 64;

/// A map from fields to `V`.
#[derive(Clone, Debug)]
pub(crate) enum Fields<V> {
    /// Few and short: searched from the start, in insertion order.
    Packed(Vec<(Blob, V)>),
    /// Ordered by hash, then field. Stays so when it shrinks, so that scans keep their cursor.
    Hashed(Tree<(u64, Blob), V>),
}

/// Values whose length decides if a map may stay packed.
pub(crate) trait Weight: Clone {
    fn weight(&self) -> usize;
}

impl Weight for Blob {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Weight for () {
    fn weight(&self) -> usize {
        0
    }
}

impl Weight for i64 {
    fn weight(&self) -> usize {
        0
    }
}

impl Weight for f64 {
    fn weight(&self) -> usize {
        0
    }
}

impl<V> Default for Fields<V> {
    fn default() -> Self {
        Self::Packed(Vec::new())
    }
}

fn against<'a>(hash: u64, field: &'a [u8]) -> impl Fn(&(u64, Blob)) -> Ordering + 'a {
    move |(other_hash, other)| {
        other_hash
            .cmp(&hash)
            .then_with(|| other.as_slice().cmp(field))
    }
}

impl<V: Weight> Fields<V> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Packed(pairs) => pairs.len(),
            Self::Hashed(tree) => tree.len(),
        }
    }

    pub(crate) fn is_packed(&self) -> bool {
        matches!(self, Self::Packed(_))
    }

    pub(crate) fn get(&self, field: &[u8]) -> Option<&V> {
        match self {
            Self::Packed(pairs) => pairs
                .iter()
                .find(|(other, _)| other.as_slice() == field)
                .map(|(_, value)| value),
            Self::Hashed(tree) => tree
                .get(against(hash(field), field))
                .map(|(_, value)| value),
        }
    }

    pub(crate) fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Sets a field; returns true if it is new.
    pub(crate) fn insert(&mut self, field: &[u8], value: V) -> bool {
        if let Self::Packed(pairs) = self {
            let short = field.len() <= PACKED_BYTES_MAX && value.weight() <= PACKED_BYTES_MAX;
            if short {
                if let Some(pair) = pairs
                    .iter_mut()
                    .find(|(other, _)| other.as_slice() == field)
                {
                    pair.1 = value;
                    return false;
                }
                if pairs.len() < PACKED_LEN_MAX {
                    pairs.push((Blob::new(field), value));
                    return true;
                }
            }
            self.unpack();
        }
        let Self::Hashed(tree) = self else {
            return false;
        };
        let hash = hash(field);
        match tree.rank(against(hash, field)) {
            Ok(at) => {
                if let Some(slot) = tree.at_mut(at) {
                    *slot = value;
                }
                false
            }
            Err(at) => {
                tree.insert_at(at, (hash, Blob::new(field)), value);
                true
            }
        }
    }

    /// Removes a field; returns its value.
    pub(crate) fn remove(&mut self, field: &[u8]) -> Option<V> {
        match self {
            Self::Packed(pairs) => {
                let at = pairs
                    .iter()
                    .position(|(other, _)| other.as_slice() == field)?;
                Some(pairs.remove(at).1)
            }
            Self::Hashed(tree) => {
                let at = tree.rank(against(hash(field), field)).ok()?;
                tree.remove_at(at).map(|(_, value)| value)
            }
        }
    }

    fn unpack(&mut self) {
        let Self::Packed(pairs) = self else { return };
        let mut hashed: Vec<_> = std::mem::take(pairs)
            .into_iter()
            .map(|(field, value)| ((hash(&field), field), value))
            .collect();
        hashed.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        *self = Self::Hashed(hashed.into_iter().collect());
    }

    /// The pair at a position in this map's own order; for random picks.
    pub(crate) fn at(&self, index: usize) -> Option<(&Blob, &V)> {
        match self {
            Self::Packed(pairs) => pairs.get(index).map(|(field, value)| (field, value)),
            Self::Hashed(tree) => tree.at(index).map(|((_, field), value)| (field, value)),
        }
    }

    pub(crate) fn iter(&self) -> Pairs<'_, V> {
        match self {
            Self::Packed(pairs) => Pairs::Packed(pairs.iter()),
            Self::Hashed(tree) => Pairs::Hashed(tree.iter()),
        }
    }

    /// Visits about `count` pairs from `cursor` on; returns the next cursor, 0 at the end.
    ///
    /// A cursor is a position in the order of hashes, which edits do not move: a pair that exists
    /// from the first call to the last is visited exactly once.
    pub(crate) fn scan<'f>(
        &'f self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&'f Blob, &'f V),
    ) -> u64 {
        let tree = match self {
            Self::Packed(pairs) => {
                pairs.iter().for_each(|(field, value)| visit(field, value));
                return 0;
            }
            Self::Hashed(tree) => tree,
        };
        let from = match tree.rank(|(hash, _)| hash.cmp(&cursor).then(Ordering::Greater)) {
            Ok(at) | Err(at) => at,
        };
        let mut last = None;
        for (seen, ((hash, field), value)) in tree.range(from, tree.len()).enumerate() {
            if seen >= count && last != Some(*hash) {
                return *hash;
            }
            last = Some(*hash);
            visit(field, value);
        }
        0
    }
}

/// The pairs of a map in its own order.
pub(crate) enum Pairs<'f, V> {
    Packed(std::slice::Iter<'f, (Blob, V)>),
    Hashed(tree::Iter<'f, (u64, Blob), V>),
}

impl<'f, V: Clone> Iterator for Pairs<'f, V> {
    type Item = (&'f Blob, &'f V);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(pairs) => pairs.next().map(|(field, value)| (field, value)),
            Self::Hashed(pairs) => pairs.next().map(|((_, field), value)| (field, value)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Packed(pairs) => pairs.size_hint(),
            Self::Hashed(pairs) => pairs.size_hint(),
        }
    }
}

impl<V: Clone> ExactSizeIterator for Pairs<'_, V> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_from_packed_to_hashed_and_keeps_every_pair() {
        let mut fields = Fields::default();
        for i in 0..1_000_u32 {
            assert!(fields.insert(format!("field:{i}").as_bytes(), Blob::new(&i.to_le_bytes())));
            assert_eq!(fields.is_packed(), i < 128);
        }
        assert!(!fields.insert(b"field:7", Blob::new(b"seven")));
        assert_eq!(
            fields.get(b"field:7").map(|value| value.to_vec()),
            Some(b"seven".to_vec())
        );
        for i in 0..1_000_u32 {
            assert!(fields.remove(format!("field:{i}").as_bytes()).is_some());
            assert!(fields.remove(format!("field:{i}").as_bytes()).is_none());
        }
        assert_eq!(fields.len(), 0);
    }

    #[test]
    fn a_scan_visits_what_stays_exactly_once_while_others_come_and_go() {
        let mut fields = Fields::default();
        for i in 0..2_000_u32 {
            fields.insert(format!("stay:{i}").as_bytes(), ());
            fields.insert(format!("go:{i}").as_bytes(), ());
        }
        let (mut cursor, mut seen, mut step) = (0, Vec::new(), 0_u32);
        loop {
            cursor = fields.scan(cursor, 10, |field, ()| seen.push(field.clone()));
            if cursor == 0 {
                break;
            }
            fields.remove(format!("go:{step}").as_bytes());
            fields.insert(format!("come:{step}").as_bytes(), ());
            step += 1;
        }
        seen.retain(|field| field.starts_with(b"stay:"));
        assert_eq!(seen.len(), 2_000);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 2_000);
    }
}
