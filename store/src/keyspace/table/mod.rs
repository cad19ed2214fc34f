//! One database's part of one shard: a hash table made of small segments.
//!
//! A segment holds the keys of one range of hashes and is split in two when it is full (extendible
//! hashing). Two halves that have become nearly empty are put together again. So no insert or removal pays
//! for moving more than one segment, and a scan follows the order of hashes, which neither disturbs.
//!
//! Segments, not keys, are in the order of their deadlines: a key with a deadline takes no more memory
//! than others, and to find what has expired costs one look at a segment that has any.

mod resize;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::keyspace::entries::{Entries, Entry};
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::hashing::hash;
use crate::value::steps;

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
    /// Indexes of segments that the directory does not name: they are empty.
    free: Vec<u32>,
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
        if self.len == 0 {
            self.give_back();
        } else {
            while self.merge(hash) {}
        }
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
