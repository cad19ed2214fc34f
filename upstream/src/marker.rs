//! Marks by which the engine knows a commit that it has already taken.
//!
//! A commit whose connection broke before the reply is sent again, with the same mark. The mark is a
//! field in a hash of this server: the field is a lane, of which each commit under way has one, and its
//! value the number of the last commit that was taken there. So the hash grows with the commits that are
//! under way at once, not with their number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Prefix of all keys that this server writes for itself.
pub(crate) const RESERVED_PREFIX: &str = "ferrite:";

/// Time for which the engine keeps a mark after its commit.
const KEEP: Duration = Duration::from_secs(600);

/// The marks of one server.
#[derive(Debug)]
pub(crate) struct Markers {
    key: String,
    leases: String,
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
            key: format!("{RESERVED_PREFIX}commits:{id}"),
            leases: format!("{RESERVED_PREFIX}leases"),
            id: id.to_owned(),
            sequence: AtomicU64::new(1),
            lanes: Mutex::default(),
        }
    }

    /// Returns the key of the leases that all servers share.
    pub(crate) fn leases_key(&self) -> &[u8] {
        self.leases.as_bytes()
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
    pub(crate) fn key(&self) -> &[u8] {
        self.markers.key.as_bytes()
    }

    /// Returns the key of the leases that all servers share.
    pub(crate) fn leases_key(&self) -> &[u8] {
        self.markers.leases.as_bytes()
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
        assert_eq!(three.key(), b"ferrite:commits:id");
    }
}
