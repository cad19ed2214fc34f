//! Figures of a store for operators, and the memory that a key takes.

use std::path::Path;
use std::sync::atomic::Ordering;

use crate::api::store::Store;
use crate::durable::{BackupError, Durability};
use crate::execution::shard_locks::LockedShards;
use crate::keyspace::shard::{SHARDS, shard_of};
use crate::value::Value;
use crate::value::blob::Blob;
use crate::value::hashing::hash;

/// Bytes that the allocator adds to each block.
const BLOCK_BYTES: usize = 16;

/// Figures of a store since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Keys that reading commands and functions looked up and found.
    pub hits: u64,
    /// Keys that they looked up and did not find.
    pub misses: u64,
    /// Keys that were removed because they had expired.
    pub expired: u64,
    /// Number of the last commit. Each command or transaction that wrote is one, and so is each removal
    /// of expired keys. A store on disk goes on counting after a restart.
    pub commits: u64,
}

impl Store {
    /// Returns figures since the start, or since [`Store::reset_figures`].
    pub fn figures(&self) -> StoreFigures {
        let queue = self.core.queue.as_ref();
        let mut figures = StoreFigures {
            commits: queue.map_or_else(|| self.core.latest(), |queue| queue.last()),
            ..StoreFigures::default()
        };
        for index in 0..SHARDS {
            let lookups = self.core.lock(index).lookups;
            figures.hits += lookups.hits;
            figures.misses += lookups.misses;
            figures.expired += lookups.expired;
        }
        figures
    }

    /// Sets the counters of [`Store::figures`] to zero, apart from the number of the last commit.
    pub fn reset_figures(&self) {
        for index in 0..SHARDS {
            self.core.lock(index).lookups = Default::default();
        }
    }

    /// Returns the number of keys that clients wait for.
    pub fn blocking_keys(&self) -> usize {
        self.core.blocked.keys()
    }

    /// Returns the number of elements and keys that were freed with large collections and with flushed
    /// databases.
    pub fn freed_in_bulk(&self) -> u64 {
        self.core.freed.load(Ordering::Relaxed)
    }

    /// Refuses commands that need more memory, or no longer refuses them.
    pub fn refuse_growth(&self, refuse: bool) {
        self.core.set_refuses_growth(refuse);
    }

    /// Copies the data into `directory`, which a store can then open: the state after the last commit
    /// so far, whose number it returns. Commands and transactions go on meanwhile. Blocks until the
    /// copy is on disk.
    ///
    /// # Errors
    /// [`BackupError`]; the directory may then hold a part of a copy.
    pub fn back_up(&self, directory: &Path) -> Result<u64, BackupError> {
        match &self.core.queue {
            Some(queue) => queue.back_up(directory),
            None => Err(BackupError::InMemory),
        }
    }

    /// Changes when writes count as done. Does nothing for a store in memory.
    pub fn set_durability(&self, durability: Durability) {
        if let Some(queue) = &self.core.queue {
            queue.set_durability(durability);
        }
    }

    /// Returns an estimate of the bytes that a key and its value take; `None` if there is no such key.
    /// Of a collection, at most `samples` elements are looked at.
    pub fn memory_usage(&self, database: u32, key: &[u8], samples: usize) -> Option<usize> {
        let hash = hash(key);
        let (key_bytes, value) = {
            let mut locked = LockedShards::one(&self.core, shard_of(hash));
            let shard = locked.shard(shard_of(hash))?;
            let entry = shard.tables.get(database as usize)?.get(hash, key)?;
            if entry.deadline.has_passed(self.core.clock.now_millis()) {
                return None;
            }
            (outside(&entry.key), entry.value.clone())
        };
        // A place in the table: key, value, deadline and version, and a share of those that are free.
        let place = (2 * size_of::<Blob>() + 2 * size_of::<u64>()) * 5 / 4;
        Some(place + key_bytes + value_bytes(&value, samples))
    }
}

/// Bytes of a string that do not lie in its place.
fn outside(blob: &Blob) -> usize {
    match blob {
        Blob::Inline { .. } => 0,
        Blob::Shared(bytes) => bytes.len() + 2 * size_of::<usize>() + BLOCK_BYTES,
    }
}

/// Bytes of a value beyond its own place.
fn value_bytes(value: &Value, samples: usize) -> usize {
    let head = 6 * size_of::<u64>() + BLOCK_BYTES;
    // A node of a tree is filled by about two thirds.
    let spread = |bytes: usize| bytes * 3 / 2;
    match value {
        Value::Text(text) => match text.len() {
            len if len <= size_of::<Blob>() => 0,
            len => len + BLOCK_BYTES,
        },
        Value::List(list) => {
            let own = size_of::<Blob>();
            let elements = list
                .data
                .iter()
                .map(|element| spread(own) + outside(element));
            head + extrapolated(elements, list.data.len(), samples)
        }
        Value::Hash(hash) => {
            let own = 2 * size_of::<Blob>() + size_of::<u64>();
            let fields = hash
                .data
                .iter()
                .map(|(field, value)| spread(own) + outside(field) + outside(value));
            head + extrapolated(fields, hash.data.len(), samples)
        }
        Value::Set(set) => {
            let own = size_of::<Blob>() + size_of::<u64>();
            let members = set
                .data
                .iter()
                .map(|(member, ())| spread(own) + outside(member));
            head + extrapolated(members, set.data.len(), samples)
        }
        Value::Zset(zset) => {
            // Members are in the order of scores, and many of them in a map as well.
            let own = 2 * (size_of::<Blob>() + size_of::<f64>());
            let members = zset
                .data
                .iter()
                .map(|(member, _)| spread(own) + outside(member));
            head + extrapolated(members, zset.data.len(), samples)
        }
    }
}

/// Returns the bytes of `len` elements, of which the first `samples` are looked at.
fn extrapolated(bytes: impl Iterator<Item = usize>, len: usize, samples: usize) -> usize {
    let looked_at = samples.clamp(1, len.max(1));
    let sum: usize = bytes.take(looked_at).sum();
    let all = (sum as u128) * (len as u128) / (looked_at as u128);
    usize::try_from(all).unwrap_or(usize::MAX)
}
