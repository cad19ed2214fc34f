//! Events of keys with their values, for a part of the host that acts on them.
//!
//! A keyspace tells each event to an [`EventSink`] when the commit that made it takes effect, and makes
//! the sink's records a part of that commit. So a queue of events holds exactly those that happened.

use crate::record::Record;

/// A value of a key, of any type.
pub trait EventValue {
    /// Returns the name of the type, as `TYPE` replies it.
    fn type_name(&self) -> &'static str;

    /// Returns the bytes of a string, or a collection as an array of RESP2: fields with values, members
    /// with scores. Returns `None` if that would be more than `bytes_max` bytes.
    fn to_bytes(&self, bytes_max: usize) -> Option<Vec<u8>>;
}

/// Something that happened to a key.
#[derive(Clone, Copy)]
pub struct KeyspaceEvent<'e> {
    /// The database of the key.
    pub database: u32,
    /// The key.
    pub key: &'e [u8],
    /// Its name, such as `lpush`, as keyspace notifications have it.
    pub name: &'static str,
    /// The key's value before the command; of an expired key, the value that expired.
    pub old: Option<&'e dyn EventValue>,
    /// The key's value after the command.
    pub new: Option<&'e dyn EventValue>,
    /// Number of events in a row that led to this one; 0 if a client caused it.
    pub depth: u32,
}

/// Is told of events, and keeps records of them.
pub trait EventSink: Send + Sync {
    /// Returns true if events of this key are wanted. Called for every key that is written.
    fn wants(&self, database: u32, key: &[u8]) -> bool;

    /// Adds the records to be kept for an event of a wanted key. The commit cannot fail any more.
    ///
    /// Locks of the keyspace are held, so the events of one key come in their order. This must be short
    /// and may not use the keyspace.
    fn record(&self, event: &KeyspaceEvent<'_>, into: &mut Vec<Record>);

    /// Takes the records of a commit, once a later commit can change them. The same locks are held.
    fn committed(&self, records: Vec<Record>);

    /// Returns true while writes of clients have to wait until there is room for their events.
    fn is_full(&self) -> bool;
}
