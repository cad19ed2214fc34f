//! One database's part of one shard: a hash table made of small segments.
//!
//! A segment holds the keys of one range of hashes and is split in two when it is full (extendible
//! hashing). So no insert pays for moving more than one segment, and a scan follows the order of
//! hashes, which growth does not disturb.

use hashbrown::HashTable;

use crate::value::Value;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::hashing::hash;

/// Most entries of a segment, depending on its number: otherwise all segments would split at the
/// same time, and their tables be half empty. Halves fit into 512 buckets, wholes into 1,024.
const SEGMENT_LEN_MAX: std::ops::Range<usize> = 512..840;
/// Segments with less capacity than this never shrink.
const SHRINKING_CAPACITY_MIN: usize = 64;
/// Most bits of the hash that choose a segment, below those that choose the shard.
const DEPTH_MAX: u32 = 24;
/// Top bits of the hash that choose the shard.
pub(crate) const SHARD_BITS: u32 = 6;

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

/// Position of an entry; valid until an entry is added to or removed from its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    segment: u32,
    bucket: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Log2 of the directory's length.
    depth: u32,
    /// Maps the top bits of the hash, below the shard's, to an index into `segments`.
    directory: Vec<u32>,
    segments: Vec<Segment>,
    len: usize,
    expiring: Expiring,
    /// The last commit that gave all these entries to this database, by a swap.
    pub(crate) placed_at: u64,
}

/// Sums over the entries that have a deadline, updated with every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expiring {
    pub(crate) len: usize,
    /// Sum of their deadlines, in milliseconds since the Unix epoch.
    pub(crate) deadline_sum: i128,
}

impl Expiring {
    fn add(&mut self, deadline: Deadline) {
        if let Some(millis) = deadline.millis() {
            self.len += 1;
            self.deadline_sum += i128::from(millis);
        }
    }

    fn remove(&mut self, deadline: Deadline) {
        if let Some(millis) = deadline.millis() {
            self.len -= 1;
            self.deadline_sum -= i128::from(millis);
        }
    }
}

#[derive(Debug)]
struct Segment {
    /// Number of bits of the hash that its entries share.
    depth: u32,
    /// Lower bound of the entries' deadlines.
    earliest: Deadline,
    entries: HashTable<Entry>,
}

/// The bits that the segment's own table uses: the bits that chose shard and segment are the same
/// for all its entries, so the low half serves as both index and tag.
fn spread(hash: u64) -> u64 {
    (hash << 32) | (hash & 0xffff_ffff)
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Number of entries that have a deadline, expired ones included, and the sum of their deadlines.
    pub(crate) fn expiring(&self) -> Expiring {
        self.expiring
    }

    fn slot(&self, hash: u64) -> usize {
        // A depth of zero would shift by the whole width.
        ((hash << SHARD_BITS) >> 1 >> (63 - self.depth)) as usize
    }

    fn segment(&self, hash: u64) -> Option<&Segment> {
        let index = *self.directory.get(self.slot(hash))?;
        self.segments.get(index as usize)
    }

    fn segment_mut(&mut self, hash: u64) -> Option<&mut Segment> {
        let index = *self.directory.get(self.slot(hash))?;
        self.segments.get_mut(index as usize)
    }

    /// Position of a key's entry, even if it has expired.
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let segment = *self.directory.get(self.slot(hash))?;
        let bucket = self.segments[segment as usize]
            .entries
            .find_bucket_index(spread(hash), |entry| entry.key.as_slice() == key)?;
        Some(Place { segment, bucket })
    }

    /// The entry at a position that `find` returned; nothing may have been added or removed since.
    pub(crate) fn at(&self, place: Place) -> Option<&Entry> {
        self.segments
            .get(place.segment as usize)?
            .entries
            .get_bucket(place.bucket)
    }

    pub(crate) fn at_mut(&mut self, place: Place) -> Option<&mut Entry> {
        self.segments
            .get_mut(place.segment as usize)?
            .entries
            .get_bucket_mut(place.bucket)
    }

    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.segment(hash)?
            .entries
            .find(spread(hash), |entry| entry.key.as_slice() == key)
    }

    pub(crate) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Entry> {
        let segment = self.segment_mut(hash)?;
        let found = segment
            .entries
            .find_entry(spread(hash), |entry| entry.key.as_slice() == key)
            .ok()?;
        let (entry, _) = found.remove();
        let capacity = segment.entries.capacity();
        if capacity > SHRINKING_CAPACITY_MIN && segment.entries.len() * 8 < capacity {
            segment
                .entries
                .shrink_to_fit(|entry| spread(self::hash(&entry.key)));
        }
        self.len -= 1;
        self.expiring.remove(entry.deadline);
        Some(entry)
    }

    /// Adds an entry whose key is not in the table.
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry) {
        if self.segments.is_empty() {
            self.segments.push(Segment {
                depth: 0,
                earliest: Deadline::NEVER,
                entries: HashTable::new(),
            });
            self.directory.push(0);
        }
        while self.is_full(hash) && self.split(hash) {}
        let Some(segment) = self.segment_mut(hash) else {
            return;
        };
        segment.earliest = segment.earliest.min(entry.earliest());
        let deadline = entry.deadline;
        segment
            .entries
            .insert_unique(spread(hash), entry, |entry| spread(self::hash(&entry.key)));
        self.len += 1;
        self.expiring.add(deadline);
    }

    /// Must be called after the deadline of the entry with this hash was changed in place.
    pub(crate) fn deadline_changed(&mut self, hash: u64, old: Deadline, new: Deadline) {
        self.expiring.remove(old);
        self.expiring.add(new);
        if !new.is_never() {
            self.note_deadline(hash, new);
        }
    }

    /// Lowers the bound on the earliest deadline in the segment that a hash belongs to.
    pub(crate) fn note_deadline(&mut self, hash: u64, deadline: Deadline) {
        if let Some(segment) = self.segment_mut(hash) {
            segment.earliest = segment.earliest.min(deadline);
        }
    }

    /// Returns true if the segment of this hash is full.
    fn is_full(&self, hash: u64) -> bool {
        let Some(&index) = self.directory.get(self.slot(hash)) else {
            return false;
        };
        // Any function that spreads small numbers over the range would do.
        let offset = (index as usize).wrapping_mul(0x9E37_79B9) % SEGMENT_LEN_MAX.len();
        self.segments[index as usize].entries.len() >= SEGMENT_LEN_MAX.start + offset
    }

    /// Splits the segment of this hash; returns false if it cannot be split further.
    fn split(&mut self, hash: u64) -> bool {
        let slot = self.slot(hash);
        let index = self.directory[slot] as usize;
        let depth = self.segments[index].depth;
        if depth == DEPTH_MAX {
            return false;
        }
        if depth == self.depth {
            self.directory = self
                .directory
                .iter()
                .flat_map(|&segment| [segment; 2])
                .collect();
            self.depth += 1;
        }
        let depth = depth + 1;
        let bit = 1_u64 << (64 - SHARD_BITS - depth);
        let old = std::mem::take(&mut self.segments[index].entries);
        let earliest = self.segments[index].earliest;
        let mut halves = [
            HashTable::with_capacity(old.len() / 2),
            HashTable::with_capacity(old.len() / 2),
        ];
        for entry in old {
            let hash = self::hash(&entry.key);
            halves[usize::from(hash & bit != 0)]
                .insert_unique(spread(hash), entry, |entry| spread(self::hash(&entry.key)));
        }
        let [low, high] = halves;
        self.segments[index] = Segment {
            depth,
            earliest,
            entries: low,
        };
        // Segments are bounded by the directory's 2^24 slots.
        let new = self.segments.len() as u32;
        self.segments.push(Segment {
            depth,
            earliest,
            entries: high,
        });
        // All slots that agree with the hash in the old depth; the upper half gets the new segment.
        let width = 1_usize << (self.depth - depth);
        let slot = self.slot(hash);
        let start = slot & !(2 * width - 1);
        self.directory[start + width..start + 2 * width].fill(new);
        true
    }

    /// Visits about `count` entries whose hash is at least `cursor`, in the order of their hashes.
    ///
    /// Returns the hash to continue with, or `None` after the last segment. `cursor` must belong to
    /// this table's shard.
    pub(crate) fn scan(
        &self,
        cursor: u64,
        count: &mut usize,
        mut visit: impl FnMut(&Entry),
    ) -> Option<u64> {
        let mut cursor = cursor;
        let mut found: Vec<(u64, &Entry)> = Vec::new();
        loop {
            let segment = self.segment(cursor)?;
            found.clear();
            found.extend(
                segment
                    .entries
                    .iter()
                    .map(|entry| (hash(&entry.key), entry))
                    .filter(|(hash, _)| *hash >= cursor),
            );
            if found.len() > *count {
                // The smallest `count` hashes, and all that equal the last of them.
                found.sort_unstable_by_key(|(hash, _)| *hash);
                let mut visited = 0;
                while visited < found.len()
                    && (visited < (*count).max(1) || found[visited].0 == found[visited - 1].0)
                {
                    visit(found[visited].1);
                    visited += 1;
                }
                if let Some((next, _)) = found.get(visited) {
                    *count = 0;
                    return Some(*next);
                }
                *count = 0;
            } else {
                found.iter().for_each(|(_, entry)| visit(entry));
                *count -= found.len();
            }
            // The first hash of the next segment, if there is one in this shard.
            let end = segment.end_of_range(cursor)?;
            cursor = end;
            if *count == 0 {
                return Some(cursor);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.segments
            .iter()
            .flat_map(|segment| segment.entries.iter())
    }

    /// An entry chosen by two random numbers; `None` when the table is empty.
    pub(crate) fn random(&self, place: u64, nth: u64) -> Option<&Entry> {
        let start = self
            .directory
            .get(self.slot(place))
            .map_or(0, |&index| index as usize);
        let (before, after) = self.segments.split_at(start.min(self.segments.len()));
        let segment = after
            .iter()
            .chain(before)
            .find(|segment| !segment.entries.is_empty())?;
        segment
            .entries
            .iter()
            .nth((nth % segment.entries.len() as u64) as usize)
    }

    /// Searches up to `budget` segments for expired entries and adds their keys. The caller must
    /// remove these entries or record their deadlines again.
    pub(crate) fn passed(&mut self, budget: &mut usize, now: i64, passed: &mut Vec<Blob>) {
        for segment in &mut self.segments {
            if *budget == 0 {
                return;
            }
            if !segment.earliest.has_passed(now) {
                continue;
            }
            *budget -= 1;
            let mut earliest = Deadline::NEVER;
            for entry in &segment.entries {
                if entry.earliest().has_passed(now) {
                    passed.push(entry.key.clone());
                } else {
                    earliest = earliest.min(entry.earliest());
                }
            }
            segment.earliest = earliest;
        }
    }
}

impl Segment {
    /// The first hash above this segment's range, given any hash inside; `None` at the shard's end.
    fn end_of_range(&self, inside: u64) -> Option<u64> {
        let free = 64 - SHARD_BITS - self.depth;
        let end = ((inside >> free) + 1).checked_shl(free).unwrap_or(0);
        let same_shard = (end >> (64 - SHARD_BITS)) == (inside >> (64 - SHARD_BITS));
        (end != 0 && same_shard).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of one shard only, as a table has them.
    fn keys() -> impl Iterator<Item = (u64, Blob)> {
        (0_u64..)
            .map(|i| Blob::new(&i.to_le_bytes()))
            .map(|key| (hash(&key), key))
            .filter(|(hash, _)| hash >> (64 - SHARD_BITS) == 3)
    }

    fn entry(key: &Blob, version: u64) -> Entry {
        Entry {
            key: key.clone(),
            value: Value::text(b"v"),
            deadline: Deadline::NEVER,
            version,
        }
    }

    #[test]
    fn an_entry_is_one_cache_line() {
        assert_eq!(size_of::<Entry>(), 64);
    }

    #[test]
    fn every_key_is_found_after_many_splits_and_removals() {
        let mut table = Table::default();
        for (version, (hash, key)) in keys().take(20_000).enumerate() {
            table.insert(hash, entry(&key, version as u64));
        }
        assert_eq!(table.len(), 20_000);
        assert!(table.segments.len() > 20);
        for (version, (hash, key)) in keys().take(20_000).enumerate() {
            assert_eq!(
                table.get(hash, &key).map(|entry| entry.version),
                Some(version as u64)
            );
            if version % 3 > 0 {
                assert!(table.remove(hash, &key).is_some());
                assert!(table.get(hash, &key).is_none());
            }
        }
        assert_eq!(table.len(), table.iter().count());
    }

    #[test]
    fn a_scan_visits_each_entry_once_while_the_table_grows() {
        let mut table = Table::default();
        let mut keys = keys();
        let mut expected = Vec::new();
        for (hash, key) in keys.by_ref().take(3_000) {
            expected.push(key.clone());
            table.insert(hash, entry(&key, 0));
        }
        let mut seen = Vec::new();
        let mut cursor = Some(3 << (64 - SHARD_BITS));
        while let Some(from) = cursor {
            let mut count = 10;
            cursor = table.scan(from, &mut count, |entry| {
                if entry.version == 0 {
                    seen.push(entry.key.clone());
                }
            });
            for (hash, key) in keys.by_ref().take(20) {
                table.insert(hash, entry(&key, 1));
            }
        }
        expected.sort();
        seen.sort();
        assert_eq!(seen, expected);
    }
}
