//! Marks by which the engine knows a commit that it has already taken.
//!
//! A commit whose connection broke before the reply is sent again, with the same mark. The mark is a
//! field in a hash of this server: the field is a lane, of which each commit under way has one, and its
//! value the number of the last commit that was taken there. So the hash grows with the commits that are
//! under way at once, not with their number.
//!
//! In a cluster, there is one such hash for each slot, as a script's keys must be in one slot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::topology::tag_of;

/// Prefix of all keys that this server writes for itself.
pub(crate) const RESERVED_PREFIX: &str = "ferrite:";

/// Time for which the engine keeps a mark after its commit.
const KEEP: Duration = Duration::from_secs(600);

/// The marks of one server.
#[derive(Debug)]
pub(crate) struct Markers {
    id: String,
    sequence: AtomicU64,
    lanes: Mutex<Lanes>,
}

#[derive(Debug, Default)]
struct Lanes {
    free: Vec<u64>,
    count: u64,
}

/// The mark of one commit.
#[derive(Debug)]
pub(crate) struct Marker<'m> {
    markers: &'m Markers,
    lane: u64,
    sequence: u64,
}

impl Markers {
    /// `id` is one that no other server has.
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            sequence: AtomicU64::new(1),
            lanes: Mutex::default(),
        }
    }

    /// Returns the key of the leases that all servers share, in this slot of a cluster.
    pub(crate) fn leases_key(slot: Option<u16>) -> String {
        match slot.map(tag_of) {
            None => format!("{RESERVED_PREFIX}leases"),
            Some(tag) => format!("{RESERVED_PREFIX}leases:{{{tag}}}"),
        }
    }

    /// Returns a name under which one call may hold keys.
    pub(crate) fn token(&self) -> String {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        format!("{}:{number}", self.id)
    }

    /// Returns a mark for a commit.
    pub(crate) fn mark(&self) -> Marker<'_> {
        let mut lanes = self.lanes.lock();
        let lane = lanes.free.pop().unwrap_or_else(|| {
            lanes.count += 1;
            lanes.count
        });
        // Taken under the lock, so that numbers rise along each lane.
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        Marker {
            markers: self,
            lane,
            sequence,
        }
    }
}

impl Marker<'_> {
    /// Returns the key of the hash that holds the mark, in this slot of a cluster.
    pub(crate) fn key(&self, slot: Option<u16>) -> String {
        let id = &self.markers.id;
        match slot.map(tag_of) {
            None => format!("{RESERVED_PREFIX}commits:{id}"),
            Some(tag) => format!("{RESERVED_PREFIX}commits:{{{tag}}}:{id}"),
        }
    }

    pub(crate) fn lane(&self) -> u64 {
        self.lane
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn keep_millis(&self) -> u64 {
        KEEP.as_millis() as u64
    }
}

impl Drop for Marker<'_> {
    fn drop(&mut self) {
        self.markers.lanes.lock().free.push(self.lane);
    }
}

#[cfg(test)]
mod tests {
    use super::Markers;
    use crate::topology::slot_of;

    #[test]
    fn lanes_are_used_again_with_higher_numbers() {
        let markers = Markers::new("id");
        let (one, two) = (markers.mark(), markers.mark());
        assert_ne!(one.lane(), two.lane());
        let (lane, sequence) = (one.lane(), one.sequence());
        drop(one);
        let three = markers.mark();
        assert_eq!(three.lane(), lane);
        assert!(three.sequence() > sequence);
        assert_eq!(three.key(None), "ferrite:commits:id");
    }

    #[test]
    fn keys_are_in_the_slot_of_their_commit() {
        let markers = Markers::new("id");
        for slot in [0, 1, 8191, 16_383] {
            let key = markers.mark().key(Some(slot));
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
            let key = Markers::leases_key(Some(slot));
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }
}
