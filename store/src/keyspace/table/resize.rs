//! Splits a segment that is full, and puts two together that are nearly empty.

use super::{Segment, Table};
use crate::keyspace::entries::Entries;
use crate::keyspace::table::SHARD_BITS;
use crate::value::hashing::hash as hash_of;

/// Most entries of a segment, depending on its number: otherwise all segments would split at the
/// same time, and all have as much room to spare.
const SEGMENT_LEN_MAX: std::ops::Range<usize> = 512..840;

/// Most entries of two segments that are put together.
const MERGED_LEN_MAX: usize = 128;

/// Most bits of the hash that choose a segment, below those that choose the shard.
const DEPTH_MAX: u32 = 24;

impl Table {
    /// Frees everything of an empty table that was large.
    pub(super) fn give_back(&mut self) {
        if self.segments.len() > 1 {
            *self = Self {
                placed_at: self.placed_at,
                ..Self::default()
            };
        }
    }

    /// Puts the segment of this hash and its other half together if both are nearly empty. Returns false
    /// if they are not.
    pub(super) fn merge(&mut self, hash: u64) -> bool {
        let slot = self.slot(hash);
        let Some(&index) = self.directory.get(slot) else {
            return false;
        };
        let (depth, len) = {
            let segment = &self.segments[index as usize];
            (segment.depth, segment.entries.len())
        };
        if depth == 0 || len > MERGED_LEN_MAX / 2 {
            return false;
        }
        let width = 1_usize << (self.depth - depth);
        let other = self.directory[slot ^ width];
        let half = &mut self.segments[other as usize];
        if half.depth != depth || half.entries.len() + len > MERGED_LEN_MAX {
            return false;
        }
        let gone = std::mem::replace(half, Segment::new(0));
        self.due.remove(&(gone.earliest, other));
        self.free.push(other);
        let whole = &mut self.segments[index as usize];
        whole.depth -= 1;
        whole.latest = whole.latest.max(gone.latest);
        for entry in gone.entries.into_entries() {
            whole.entries.insert_unique(hash_of(&entry.key), entry);
        }
        let earliest = whole.earliest.min(gone.earliest);
        self.set_earliest(index, earliest);
        let start = slot & !(2 * width - 1);
        self.directory[start..start + 2 * width].fill(index);
        true
    }

    /// Returns true if the segment of this hash is full.
    pub(super) fn is_full(&self, hash: u64) -> bool {
        let Some(&index) = self.directory.get(self.slot(hash)) else {
            return false;
        };
        // Any function that spreads small numbers over the range would do.
        let offset = (index as usize).wrapping_mul(0x9E37_79B9) % SEGMENT_LEN_MAX.len();
        self.segments[index as usize].entries.len() >= SEGMENT_LEN_MAX.start + offset
    }

    /// Splits the segment of this hash; returns false if it cannot be split further.
    pub(super) fn split(&mut self, hash: u64) -> bool {
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
            let hash = hash_of(&entry.key);
            let half = &mut halves[usize::from(hash & bit != 0)];
            half.earliest = half.earliest.min(entry.earliest());
            half.latest = half.latest.max(entry.deadline);
            half.entries.insert_unique(hash, entry);
        }
        let [mut low, high] = halves;
        // Segments are bounded by the directory's 2^24 slots.
        let new = self.free.pop().unwrap_or(self.segments.len() as u32);
        if !high.earliest.is_never() {
            self.due.insert((high.earliest, new));
        }
        match self.segments.get_mut(new as usize) {
            Some(free) => *free = high,
            None => self.segments.push(high),
        }
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
}
