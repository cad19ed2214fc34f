//! One database's part of one shard: a hash table made of small segments.
//!
//! A segment holds the keys of one range of hashes and is split in two when it is full (extendible
//! hashing). So no insert pays for moving more than one segment, and a scan follows the order of
//! hashes, which growth does not disturb.
//!
//! Segments, not keys, are in the order of their deadlines: a key with a deadline takes no more memory
//! than others, and to find what has expired costs one look at a segment that has any.

use std::collections::BTreeSet;

use crate::keyspace::entries::{Entries, Entry};
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::hashing::hash;
use crate::value::steps;

/// Most entries of a segment, depending on its number: otherwise all segments would split at the
/// same time, and all have as much room to spare.
const SEGMENT_LEN_MAX: std::ops::Range<usize> = 512..840;
/// Most bits of the hash that choose a segment, below those that choose the shard.
const DEPTH_MAX: u32 = 24;
/// Top bits of the hash that choose the shard.
pub(crate) const SHARD_BITS: u32 = 6;

/// Position of an entry; valid until an entry is added to or removed from its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    segment: u32,
    at: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Log2 of the directory's length.
    depth: u32,
    /// Maps the top bits of the hash, below the shard's, to an index into `segments`.
    directory: Vec<u32>,
    segments: Vec<Segment>,
    len: usize,
    /// The segments that have a deadline, by their [`Segment::earliest`].
    due: BTreeSet<(Deadline, u32)>,
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
    /// Lower bound of the deadlines of the entries and their fields.
    earliest: Deadline,
    /// Upper bound of the entries' deadlines.
    latest: Deadline,
    entries: Entries,
}

impl Segment {
    fn new(depth: u32) -> Self {
        Self {
            depth,
            earliest: Deadline::NEVER,
            latest: Deadline::at(i64::MIN),
            entries: Entries::default(),
        }
    }
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
        let at = self.segments[segment as usize].entries.find(hash, key)?;
        Some(Place { segment, at })
    }

    /// The entry at a position that `find` returned; nothing may have been added or removed since.
    pub(crate) fn at(&self, place: Place) -> Option<&Entry> {
        self.segments
            .get(place.segment as usize)?
            .entries
            .get(place.at)
    }

    pub(crate) fn at_mut(&mut self, place: Place) -> Option<&mut Entry> {
        self.segments
            .get_mut(place.segment as usize)?
            .entries
            .get_mut(place.at)
    }

    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        let entries = &self.segment(hash)?.entries;
        entries.get(entries.find(hash, key)?)
    }

    pub(crate) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Entry> {
        let entry = self.segment_mut(hash)?.entries.remove(hash, key)?;
        self.len -= 1;
        self.expiring.remove(entry.deadline);
        Some(entry)
    }

    /// Adds an entry whose key is not in the table.
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry) {
        if self.segments.is_empty() {
            self.segments.push(Segment::new(0));
            self.directory.push(0);
        }
        while self.is_full(hash) && self.split(hash) {}
        let (deadline, earliest) = (entry.deadline, entry.earliest());
        self.note_deadline(hash, earliest);
        let Some(segment) = self.segment_mut(hash) else {
            return;
        };
        segment.latest = segment.latest.max(deadline);
        segment.entries.insert_unique(hash, entry);
        self.len += 1;
        self.expiring.add(deadline);
    }

    /// Must be called after the deadline of the entry with this hash was changed in place.
    pub(crate) fn deadline_changed(&mut self, hash: u64, old: Deadline, new: Deadline) {
        self.expiring.remove(old);
        self.expiring.add(new);
        if let Some(segment) = self.segment_mut(hash) {
            segment.latest = segment.latest.max(new);
        }
        self.note_deadline(hash, new);
    }

    /// Lowers the bound on the earliest deadline in the segment that a hash belongs to.
    pub(crate) fn note_deadline(&mut self, hash: u64, deadline: Deadline) {
        if let Some(&index) = self.directory.get(self.slot(hash))
            && deadline < self.segments[index as usize].earliest
        {
            self.set_earliest(index, deadline);
        }
    }

    fn set_earliest(&mut self, index: u32, deadline: Deadline) {
        let segment = &mut self.segments[index as usize];
        let old = std::mem::replace(&mut segment.earliest, deadline);
        self.due.remove(&(old, index));
        if !deadline.is_never() {
            self.due.insert((deadline, index));
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
        let mut halves = [Segment::new(depth), Segment::new(depth)];
        for half in &mut halves {
            half.entries = Entries::with_capacity(old.len() * 9 / 16);
        }
        for entry in old.into_entries() {
            let hash = self::hash(&entry.key);
            let half = &mut halves[usize::from(hash & bit != 0)];
            half.earliest = half.earliest.min(entry.earliest());
            half.latest = half.latest.max(entry.deadline);
            half.entries.insert_unique(hash, entry);
        }
        let [mut low, high] = halves;
        // Segments are bounded by the directory's 2^24 slots.
        let new = self.segments.len() as u32;
        if !high.earliest.is_never() {
            self.due.insert((high.earliest, new));
        }
        self.segments.push(high);
        let earliest = low.earliest;
        // The bound of the whole, which `set_earliest` takes out of the order.
        low.earliest = self.segments[index].earliest;
        self.segments[index] = low;
        self.set_earliest(index as u32, earliest);
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
        // The remainder is below a length.
        let at = (nth % segment.entries.len() as u64) as usize;
        segment.entries.get(at)
    }

    /// An entry that has not expired at `now`, in the first segment from `place` on that has any, and
    /// there the first from the `nth` on.
    ///
    /// Segments in which everything has expired are passed over, so that keys that wait to be removed
    /// do not make this slow.
    pub(crate) fn live(&mut self, now: i64, place: u64, nth: u64) -> Option<&Entry> {
        let start = self
            .directory
            .get(self.slot(place))
            .map_or(0, |&index| index as usize);
        let len = self.segments.len();
        let at = (start..len).chain(0..start).find_map(|at| {
            let segment = &mut self.segments[at];
            if segment.entries.is_empty() || segment.latest.has_passed(now) {
                return None;
            }
            steps::count(segment.entries.len());
            let skipped = (nth % segment.entries.len() as u64) as usize;
            let live = |entry: &&Entry| !entry.deadline.has_passed(now);
            if segment
                .entries
                .iter()
                .skip(skipped)
                .any(|entry| live(&entry))
            {
                return Some((at, skipped));
            }
            if segment.entries.iter().any(|entry| live(&entry)) {
                return Some((at, 0));
            }
            let deadlines = segment.entries.iter().map(|entry| entry.deadline);
            segment.latest = deadlines.max().unwrap_or(Deadline::at(i64::MIN));
            None
        });
        let (at, skipped) = at?;
        let mut entries = self.segments[at].entries.iter().skip(skipped);
        entries.find(|entry| !entry.deadline.has_passed(now))
    }

    /// Returns true if something in the table may have expired.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        self.due
            .first()
            .is_some_and(|(earliest, _)| earliest.has_passed(now))
    }

    /// Adds the keys of up to `most` entries that have expired, or have fields that have. The caller
    /// must remove these entries and fields, or record their deadlines again.
    pub(crate) fn passed(&mut self, now: i64, most: usize, passed: &mut Vec<Blob>) {
        while passed.len() < most
            && let Some(&(earliest, index)) = self.due.first()
            && earliest.has_passed(now)
        {
            let segment = &mut self.segments[index as usize];
            let mut earliest = Deadline::NEVER;
            let mut latest = Deadline::at(i64::MIN);
            steps::count(segment.entries.len());
            for entry in &segment.entries {
                let deadline = entry.earliest();
                if passed.len() < most && deadline.has_passed(now) {
                    passed.push(entry.key.clone());
                    // Its hash may stay, without some of its fields.
                    if !entry.deadline.has_passed(now) {
                        earliest = earliest.min(entry.deadline);
                        latest = latest.max(entry.deadline);
                    }
                } else {
                    earliest = earliest.min(deadline);
                    latest = latest.max(entry.deadline);
                }
            }
            segment.latest = latest;
            self.set_earliest(index, earliest);
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
    use crate::value::Value;

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

    fn mortal(key: &Blob, deadline: i64) -> Entry {
        Entry {
            deadline: Deadline::at(deadline),
            ..entry(key, 0)
        }
    }

    /// Removes everything that has passed, a few keys at a time; returns their number.
    fn remove_passed(table: &mut Table, now: i64) -> usize {
        let mut removed = 0;
        loop {
            let mut passed = Vec::new();
            table.passed(now, 10, &mut passed);
            if passed.is_empty() {
                return removed;
            }
            assert!(passed.len() <= 10);
            for key in passed {
                let gone = table.remove(hash(&key), &key);
                assert!(gone.is_some_and(|entry| entry.deadline.has_passed(now)));
                removed += 1;
            }
        }
    }

    #[test]
    fn what_has_expired_is_found_whatever_happened_to_the_deadlines() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut table = Table::default();
        let mut model = std::collections::HashMap::new();
        let keys: Vec<(u64, Blob)> = keys().take(6_000).collect();
        for now in 0..60 {
            for _ in 0..600 {
                let (hash, key) = &keys[random.usize(..keys.len())];
                let deadline = match random.u32(..4) {
                    0 => Deadline::NEVER,
                    _ => Deadline::at(now + random.i64(..40)),
                };
                if random.u32(..8) == 0 {
                    table.remove(*hash, key);
                    model.remove(key);
                } else if let Some(place) = table.find(*hash, key) {
                    let entry = table.at_mut(place).expect("it was just found");
                    let old = std::mem::replace(&mut entry.deadline, deadline);
                    table.deadline_changed(*hash, old, deadline);
                    model.insert(key.clone(), deadline);
                } else {
                    let mut entry = entry(key, 0);
                    entry.deadline = deadline;
                    table.insert(*hash, entry);
                    model.insert(key.clone(), deadline);
                }
            }
            let before = model.len();
            model.retain(|_, deadline| !deadline.has_passed(now));
            assert_eq!(remove_passed(&mut table, now), before - model.len());
            assert_eq!(table.len(), model.len());
            assert!(!table.is_due(now));
        }
    }

    #[test]
    fn one_key_that_has_expired_costs_a_look_at_its_segment() {
        let mut table = Table::default();
        for (deadline, (hash, key)) in keys().take(20_000).enumerate() {
            table.insert(hash, mortal(&key, 1_000 + deadline as i64));
        }
        let segments = table.segments.len();
        steps::take();
        assert!(!table.is_due(1_000));
        assert_eq!(remove_passed(&mut table, 1_000), 0);
        assert_eq!(remove_passed(&mut table, 1_001), 1);
        let few = steps::take();
        assert!(few < 4 * 840, "{few} steps in {segments} segments");
    }

    #[test]
    fn the_only_live_key_is_found_among_expired_ones_without_a_look_at_them() {
        let mut table = Table::default();
        let mut keys = keys();
        for (hash, key) in keys.by_ref().take(20_000) {
            table.insert(hash, mortal(&key, 10));
        }
        let (hash, key) = keys.next().expect("keys without end");
        table.insert(hash, entry(&key, 7));
        for round in 0..50 {
            steps::take();
            let live = table.live(11, fastrand::u64(..) >> SHARD_BITS, fastrand::u64(..));
            assert_eq!(live.map(|entry| entry.version), Some(7), "round {round}");
            assert!(steps::take() < 2 * 840);
        }
        table.remove(hash, &key);
        assert!(table.live(11, 0, 0).is_none());
        steps::take();
        assert!(table.live(11, 0, 0).is_none());
        assert_eq!(steps::take(), 0, "its segment is known to be dead now");
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
