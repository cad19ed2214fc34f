//! The hashes of events and requests, by their kind and their part of the data.

use ferrite_protocol::events::partition_of;
use ferrite_protocol::record;

/// A kind of records in hashes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Queue {
    /// Events for triggers.
    Events,
    /// Requests that are sent after the commit of their call.
    Outbox,
}

/// A hash: its kind, and its part of the data.
pub(crate) type Place = (Queue, u16);

impl Queue {
    const ALL: [Self; 2] = [Self::Events, Self::Outbox];

    /// Returns the queue that a record of this name is in.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        let is_of = |queue: &Self| queue.prefixes().iter().any(|it| name.starts_with(it));
        Self::ALL.into_iter().find(is_of)
    }

    /// Beginnings of the names of records that wait, and of those that were given up.
    const fn prefixes(self) -> [&'static [u8]; 2] {
        match self {
            Self::Events => [record::EVENT, record::DEAD_EVENT],
            Self::Outbox => [record::REQUEST, record::DEAD_REQUEST],
        }
    }

    /// The name of its hash, or the beginning of the names in a cluster.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Events => "ferrite:events",
            Self::Outbox => "ferrite:outbox",
        }
    }

    /// Returns true if this is the name of its hash, or of one of its hashes in a cluster.
    fn has(self, key: &[u8]) -> bool {
        let rest = key.strip_prefix(self.key().as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b":{"))
    }
}

/// Returns true if this is the name of a hash of events or requests, which cause no events themselves.
pub(crate) fn is_queue(key: &[u8]) -> bool {
    Queue::ALL.iter().any(|queue| queue.has(key))
}

/// Returns the part of the data that a record is in.
pub(crate) fn part(name: &[u8]) -> u16 {
    partition_of(name).unwrap_or(0)
}

/// Returns the hash that a record is in.
pub(crate) fn place_of(name: &[u8]) -> Place {
    (Queue::of(name).unwrap_or(Queue::Events), part(name))
}

#[cfg(test)]
mod tests {
    use super::is_queue;

    #[test]
    fn hashes_of_records_are_told_from_other_keys() {
        for queue in [
            "ferrite:events",
            "ferrite:outbox",
            "ferrite:events:{7}",
            "ferrite:outbox:{16383}",
        ] {
            assert!(is_queue(queue.as_bytes()), "{queue}");
        }
        for other in [
            "ferrite:event",
            "ferrite:eventsource",
            "ferrite:outbox-log",
            "ferrite:outbox:7",
            "ferrite:",
            "my:ferrite:outbox",
        ] {
            assert!(!is_queue(other.as_bytes()), "{other}");
        }
    }
}
