//! Changes of records on disk, batch by batch: of each record the last.

use std::hash::BuildHasher as _;
use std::ops::Range;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Most changes of a map whose memory is kept after they are taken, and most bytes of them.
const KEPT_CHANGES_MAX: usize = 4096;
const KEPT_BYTES_MAX: usize = 1 << 20;

/// The change of one record; its bytes lie in [`Changes::bytes`].
#[derive(Debug)]
struct Change {
    hash: u64,
    /// The last batch that changed it.
    batch: u64,
    key: Range<usize>,
    /// None if the record is removed.
    value: Option<Range<usize>>,
}

/// Changes of the records of a map.
#[derive(Debug, Default)]
pub(super) struct Changes {
    changes: Vec<Change>,
    /// Positions of the changes, by their keys.
    index: HashTable<usize>,
    bytes: Vec<u8>,
    hasher: RandomState,
    /// Number of the present batch.
    batch: u64,
    /// Positions of the changes of the present batch.
    of_batch: Vec<usize>,
}

impl Changes {
    /// Number of records that are changed.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Bytes that the changes take up.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Begins a batch.
    pub(super) fn begin(&mut self) {
        self.batch += 1;
        self.of_batch.clear();
    }

    /// Key and new value of each record that the present batch has changed so far.
    pub(super) fn of_batch(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.of_batch.iter().map(|&at| {
            let Change { key, value, .. } = &self.changes[at];
            let value = value.as_ref().map(|value| &self.bytes[value.clone()]);
            (&self.bytes[key.clone()], value)
        })
    }

    /// A record has this value now, or is removed.
    pub(super) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Self {
            changes,
            index,
            bytes,
            hasher,
            batch,
            of_batch,
        } = self;
        let batch = *batch;
        let hash = hasher.hash_one(key);
        let is_it = |&at: &usize| {
            let change = &changes[at];
            change.hash == hash && bytes[change.key.clone()] == *key
        };
        match index.entry(hash, is_it, |&at| changes[at].hash) {
            Entry::Occupied(found) => {
                let at = *found.get();
                let room = changes[at].value.take();
                let value = value.map(|value| match room {
                    Some(room) if room.len() >= value.len() => {
                        let place = room.start..room.start + value.len();
                        bytes[place.clone()].copy_from_slice(value);
                        place
                    }
                    _ => append(bytes, value),
                });
                let change = &mut changes[at];
                change.value = value;
                if change.batch != batch {
                    change.batch = batch;
                    of_batch.push(at);
                }
            }
            Entry::Vacant(free) => {
                free.insert(changes.len());
                of_batch.push(changes.len());
                let key = append(bytes, key);
                let value = value.map(|value| append(bytes, value));
                changes.push(Change {
                    hash,
                    batch,
                    key,
                    value,
                });
            }
        }
    }

    /// Calls `take` with key and new value of each record, in the order of the keys. None are left then.
    pub(super) fn take(&mut self, mut take: impl FnMut(&[u8], Option<&[u8]>)) {
        self.index.clear();
        let bytes = &self.bytes[..];
        self.changes
            .sort_unstable_by(|left, right| bytes[left.key.clone()].cmp(&bytes[right.key.clone()]));
        for Change { key, value, .. } in self.changes.drain(..) {
            take(&bytes[key], value.map(|value| &bytes[value]));
        }
        self.clear();
    }

    /// Removes all changes, and keeps their memory unless it is large.
    pub(super) fn clear(&mut self) {
        self.changes.clear();
        self.index.clear();
        self.bytes.clear();
        self.of_batch.clear();
        self.of_batch.shrink_to(KEPT_CHANGES_MAX);
        self.changes.shrink_to(KEPT_CHANGES_MAX);
        self.index.shrink_to(KEPT_CHANGES_MAX, |_| 0);
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }

    /// Removes all changes, and keeps no memory for others.
    pub(super) fn free(&mut self) {
        *self = Self {
            batch: self.batch,
            ..Self::default()
        };
    }
}

fn append(into: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let start = into.len();
    into.extend_from_slice(bytes);
    start..into.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_last_change_of_each_record_is_taken_in_the_order_of_the_keys() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut changes = Changes::default();
        for round in 0..20 {
            let mut expected = BTreeMap::new();
            for _ in 0..random.usize(..3_000) {
                let key = random.u32(..500).to_string().into_bytes();
                let value = (random.u8(..4) > 0).then(|| vec![random.u8(..); random.usize(..40)]);
                changes.set(&key, value.as_deref());
                expected.insert(key, value);
            }
            assert_eq!(changes.len(), expected.len());
            let mut taken = Vec::new();
            changes.take(|key, value| taken.push((key.to_vec(), value.map(<[u8]>::to_vec))));
            let expected: Vec<_> = expected.into_iter().collect();
            assert_eq!(taken, expected, "round {round}");
            assert_eq!((changes.len(), changes.bytes()), (0, 0));
        }
    }

    #[test]
    fn a_value_that_fits_takes_the_place_of_the_one_before() {
        let mut changes = Changes::default();
        changes.set(b"key", Some(b"12345678"));
        let bytes = changes.bytes();
        for value in [&b"87654321"[..], b"1", b""] {
            changes.set(b"key", Some(value));
            assert_eq!(changes.bytes(), bytes);
        }
        changes.set(b"key", Some(b"123456789"));
        assert_eq!(changes.bytes(), bytes + 9);
    }

    #[test]
    fn a_batch_has_each_record_that_it_changed_once() {
        let mut changes = Changes::default();
        let of_batch = |changes: &Changes| -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
            let all = changes.of_batch();
            all.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)))
                .collect()
        };
        changes.begin();
        changes.set(b"a", Some(b"1"));
        changes.set(b"b", Some(b"1"));
        changes.set(b"a", Some(b"22"));
        let (a, b) = (b"a".to_vec(), b"b".to_vec());
        let first = [(a, Some(b"22".to_vec())), (b.clone(), Some(b"1".to_vec()))];
        assert_eq!(of_batch(&changes), first);
        changes.begin();
        assert_eq!(of_batch(&changes), []);
        changes.set(b"b", Some(b"3"));
        changes.set(b"b", None);
        assert_eq!(of_batch(&changes), [(b, None)]);
        assert_eq!(changes.len(), 2);
        changes.take(|_, _| ());
        assert_eq!(of_batch(&changes), []);
    }

    #[test]
    fn memory_of_many_changes_is_freed() {
        let mut changes = Changes::default();
        for number in 0..100_000_u32 {
            changes.set(&number.to_be_bytes(), Some(&[0; 100]));
        }
        changes.clear();
        assert!(changes.bytes.capacity() <= KEPT_BYTES_MAX);
        assert!(changes.changes.capacity() <= KEPT_CHANGES_MAX);
        assert!(changes.index.capacity() <= 4 * KEPT_CHANGES_MAX);
    }
}
