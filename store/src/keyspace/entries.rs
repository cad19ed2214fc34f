//! The entries of one segment: densely packed, with an index by hash.
//!
//! A hash table that holds the entries themselves has a third or a half of its places free, each as
//! large as an entry. Here only the index has free places, of four bytes.

use hashbrown::HashTable;

use crate::value::Value;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::hashing::hash;

/// Entries with less room than this never shrink.
const SHRINKING_CAPACITY_MIN: usize = 64;
/// Least room that is added when there is no more.
const GROWTH_MIN: usize = 8;

/// A key with its value: fills one cache line and is aligned to it.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Entry {
    pub(crate) key: Blob,
    pub(crate) value: Value,
    pub(crate) deadline: Deadline,
    /// The commit that last changed it; unique during the process.
    pub(crate) version: u64,
}

impl Entry {
    /// The instant at which it expires, or the first of its fields.
    pub(crate) fn earliest(&self) -> Deadline {
        self.deadline.min(self.value.earliest_field_deadline())
    }
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Positions in `entries`, by the hash of the key.
    index: HashTable<u32>,
    entries: Vec<Entry>,
}

/// The bits that the index uses: those that chose shard and segment are the same for all entries, so
/// the low half serves as both index and tag.
fn spread(hash: u64) -> u64 {
    (hash << 32) | (hash & 0xffff_ffff)
}

impl Entries {
    pub(super) fn with_capacity(len: usize) -> Self {
        Self {
            index: HashTable::with_capacity(len),
            entries: Vec::with_capacity(len),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Entries that it has room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// Takes all entries out.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Position of a key's entry; valid until an entry is added or removed.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.index
            .find(spread(hash), |&at| {
                self.entries[at as usize].key.as_slice() == key
            })
            .map(|&at| at as usize)
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Entry> {
        self.entries.get_mut(at)
    }

    /// Adds an entry whose key is not among them.
    pub(super) fn insert_unique(&mut self, hash: u64, entry: Entry) {
        let len = self.entries.len();
        if len == self.entries.capacity() {
            // In small steps: what is free here is what a key costs beside its entry.
            self.entries.reserve_exact((len / 8).max(GROWTH_MIN));
        }
        let Self { index, entries } = self;
        // A segment of 2^32 entries would not fit into memory.
        index.insert_unique(spread(hash), len as u32, |&at| {
            spread(self::hash(&entries[at as usize].key))
        });
        entries.push(entry);
    }

    /// Removes a key's entry; the last one takes its position.
    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Entry> {
        let Self { index, entries } = self;
        let found = index
            .find_entry(spread(hash), |&at| {
                entries[at as usize].key.as_slice() == key
            })
            .ok()?;
        let (at, _) = found.remove();
        let removed = entries.swap_remove(at as usize);
        if let Some(moved) = entries.get(at as usize) {
            let last = entries.len() as u32;
            let moved = spread(self::hash(&moved.key));
            if let Some(position) = index.find_mut(moved, |&other| other == last) {
                *position = at;
            }
        }
        let len = entries.len();
        if entries.capacity() > SHRINKING_CAPACITY_MIN && len * 2 < entries.capacity() {
            entries.shrink_to(len + len / 4);
        }
        if index.capacity() > SHRINKING_CAPACITY_MIN && len * 8 < index.capacity() {
            index.shrink_to_fit(|&at| spread(self::hash(&entries[at as usize].key)));
        }
        Some(removed)
    }
}

impl<'e> IntoIterator for &'e Entries {
    type Item = &'e Entry;
    type IntoIter = std::slice::Iter<'e, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
