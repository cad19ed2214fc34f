//! The hashes in which the engine keeps requests, and the keys beside them.
//!
//! | key | what it holds |
//! |---|---|
//! | `ferrite:requests` | a hash: the records of requests that wait, by their names |
//! | `ferrite:requests:dead` | a hash: the records of requests that were given up |
//! | `ferrite:{requests}` | a hash: `pending`, `pending_bytes` and `dead`, as the server that sends has counted them |
//! | `ferrite:{requests}:lease` | the server that sends, until it expires |
//! | `ferrite:{requests}:slots` | in a cluster: the slots whose hashes may hold requests, by the time of the last one |
//!
//! In a cluster there are two such hashes for each slot, `ferrite:requests:{TAG}` and
//! `ferrite:requests:dead:{TAG}`, so that a request is in the slot of its commit. The number of the request tells
//! the slot. All of them are in database 0.

use ferrite_protocol::events::partition_of;
use ferrite_protocol::record;

use crate::marker::RESERVED_PREFIX;
use crate::topology::{slot_of, tag_of};

/// Figures of all requests.
pub(crate) const FIGURES: &str = "ferrite:{requests}";

/// The lease of the server that sends.
pub(crate) const LEASE: &str = "ferrite:{requests}:lease";

/// The slots whose hashes may hold requests.
pub(crate) const SLOTS: &str = "ferrite:{requests}:slots";

/// A kind of requests, which has hashes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Queue {
    /// They wait to be sent.
    Waiting,
    /// They were given up.
    Dead,
}

impl Queue {
    pub(crate) const ALL: [Self; 2] = [Self::Waiting, Self::Dead];

    /// Returns the queue that a record of this name, or of names that begin so, is in.
    pub(crate) fn of(name: &[u8]) -> Self {
        match name.starts_with(record::DEAD_REQUEST) {
            true => Self::Dead,
            false => Self::Waiting,
        }
    }

    /// Returns the key of its hash, in this slot of a cluster.
    pub(crate) fn key(self, slot: Option<u16>) -> String {
        let name = match self {
            Self::Waiting => "requests",
            Self::Dead => "requests:dead",
        };
        match slot.map(tag_of) {
            None => format!("{RESERVED_PREFIX}{name}"),
            Some(tag) => format!("{RESERVED_PREFIX}{name}:{{{tag}}}"),
        }
    }
}

/// Returns the slot of a record in a cluster, which is in its name.
pub(crate) fn slot_of_record(name: &[u8]) -> u16 {
    partition_of(name).unwrap_or(0)
}

/// Returns the slot in a cluster of the requests of calls that use no key.
pub(crate) fn slot_without_key() -> u16 {
    slot_of(FIGURES.as_bytes())
}

#[cfg(test)]
mod tests {
    use ferrite_protocol::events::in_partition;

    use super::{FIGURES, LEASE, Queue, SLOTS, slot_of_record, slot_without_key};
    use crate::topology::slot_of;

    #[test]
    fn hashes_are_in_the_slot_of_their_commit() {
        for slot in [0, 1, 8191, 16_383] {
            for queue in Queue::ALL {
                assert_eq!(slot_of(queue.key(Some(slot)).as_bytes()), slot);
            }
            let name = in_partition(b"outbox/00000000deadc0de", slot);
            assert_eq!(slot_of_record(&name), slot);
        }
        assert_eq!(Queue::Waiting.key(None), "ferrite:requests");
        assert_eq!(Queue::Dead.key(None), "ferrite:requests:dead");
        for key in [FIGURES, LEASE, SLOTS] {
            assert_eq!(slot_of(key.as_bytes()), slot_without_key(), "{key}");
        }
    }

    #[test]
    fn records_tell_their_queue() {
        assert_eq!(Queue::of(b"outbox/00000000deadc0de"), Queue::Waiting);
        assert_eq!(Queue::of(b"outbox-dead/"), Queue::Dead);
    }
}
