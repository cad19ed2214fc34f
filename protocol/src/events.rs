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
    /// Part of the data that the key is in, below [`PARTITIONS`]; 0 where the data has no parts. It becomes
    /// a part of the event's number; see [`partition_of`].
    pub partition: u16,
    /// Its name, such as `lpush`, as keyspace notifications have it.
    pub name: &'e str,
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

    /// Is told of a record that a transaction has set, other than those of events, before a later commit
    /// can change it. Locks of the keyspace are held.
    fn record_set(&self, name: &[u8], value: &[u8]);

    /// Returns true while writes of clients have to wait until there is room for their events.
    fn is_full(&self) -> bool;

    /// Takes in records of events that another process has kept, in the order of their names.
    fn take_in(&self, records: Vec<Record>);

    /// Forgets records that vanished without this host: the data was emptied, or they moved to another
    /// server.
    fn forget(&self, names: &[Box<[u8]>]);

    /// Notes an event that is lost before the sink has made records for it, and why.
    fn refuse(&self, event: &KeyspaceEvent<'_>, reason: &str);

    /// Notes an event that is lost because this record of it, which the sink made, could not be kept, and why.
    fn lose(&self, record: &Record, reason: &str);

    /// Returns why no further events can wait, for the events that are lost because of that.
    fn full_reason(&self) -> String;
}

/// Parts that the data of a host may have: the slots of a cluster.
pub const PARTITIONS: u16 = 1 << 14;

/// Returns the part of the data that the record of an event belongs to: the last 14 bits of the event's
/// number, in which the record's name ends in hexadecimal digits. `None` if the name ends differently.
#[must_use]
pub fn partition_of(record: &[u8]) -> Option<u16> {
    let digits = record.last_chunk::<16>()?;
    let number = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((number % u64::from(PARTITIONS)) as u16)
}

/// Returns the name that the record of an event has in another part of the data. A name that does not end
/// in a number stays.
#[must_use]
pub fn in_partition(record: &[u8], partition: u16) -> Box<[u8]> {
    let Some((start, digits)) = record.split_last_chunk::<16>() else {
        return record.into();
    };
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let Some(number) = number else {
        return record.into();
    };
    let parts = u64::from(PARTITIONS);
    let moved = number - number % parts + u64::from(partition) % parts;
    [start, format!("{moved:016x}").as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::{in_partition, partition_of};

    #[test]
    fn the_part_is_in_the_name_of_the_record() {
        let name = b"event/00000000deadc0de";
        assert_eq!(partition_of(name), Some(0x00de));
        let moved = in_partition(name, 0x3fff);
        assert_eq!(&*moved, b"event/00000000deadffff");
        assert_eq!(partition_of(&moved), Some(0x3fff));
        assert_eq!(partition_of(b"event/"), None);
        assert_eq!(partition_of(b"event/zzzzzzzzzzzzzzzz"), None);
        assert_eq!(&*in_partition(b"trigger/t", 3), b"trigger/t");
    }
}
