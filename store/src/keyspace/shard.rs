//! A slice of all databases behind one lock.

use std::collections::HashMap;

use crate::keyspace::table::{SHARD_BITS, Table};
use crate::value::blob::Blob;

/// Databases of a store.
pub(crate) const DATABASES: usize = 16;
/// Shards of a store.
pub(crate) const SHARDS: usize = 1 << SHARD_BITS;

/// The shard that a key's hash belongs to.
pub(crate) fn shard_of(hash: u64) -> usize {
    (hash >> (64 - SHARD_BITS)) as usize
}

/// The keys of one range of hashes, in every database.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    pub(crate) tables: [Table; DATABASES],
    /// The last commit that changed anything here.
    pub(crate) modified_at: u64,
    /// By database, the last commit that added or removed a key here, or changed a key's type.
    pub(crate) membership_at: [u64; DATABASES],
    /// Keys that an exclusive transaction has read here; other work may not change them meanwhile.
    pub(crate) reserved: Option<Box<Reserved>>,
    pub(crate) lookups: Lookups,
}

/// Counters of what happened to keys of a shard, in all databases.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lookups {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) expired: u64,
}

impl Lookups {
    /// Counts a key that was looked up to be read.
    #[inline]
    pub(crate) fn note(&mut self, found: bool) {
        if found {
            self.hits += 1;
        } else {
            self.misses += 1;
        }
    }
}

/// The keys of a shard that an exclusive transaction relies on.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    /// True if it has read the set of keys itself, so that no key may change.
    pub(crate) everything: bool,
    /// By key, a bit for each database.
    keys: HashMap<Blob, u16>,
}

impl Reserved {
    pub(crate) fn add(&mut self, database: u32, key: &[u8]) {
        *self.keys.entry(Blob::new(key)).or_default() |= 1 << database;
    }

    pub(crate) fn covers(&self, database: u32, key: &[u8]) -> bool {
        self.everything
            || self
                .keys
                .get(key)
                .is_some_and(|databases| databases & (1 << database) != 0)
    }

    /// Returns true if the key is reserved in any database.
    pub(crate) fn covers_anywhere(&self, key: &[u8]) -> bool {
        self.everything || self.keys.contains_key(key)
    }
}

impl Shard {
    /// Returns true if an exclusive transaction has reserved this key.
    pub(crate) fn is_reserved(&self, database: u32, key: &[u8]) -> bool {
        self.reserved
            .as_ref()
            .is_some_and(|reserved| reserved.covers(database, key))
    }
}
