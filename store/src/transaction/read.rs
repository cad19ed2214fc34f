//! Reads shared copies of entries as of the snapshot.

use ferrite_protocol::keyspace::Mode;

use super::Transaction;
use crate::error::StoreError;
use crate::execution::direct::Direct;
use crate::execution::shard_locks::LockedShards;
use crate::execution::view::View as _;
use crate::keyspace::shard::{Shard, shard_of};
use crate::transaction::overlay::ALL_KEYS;
use crate::transaction::read_write_set::{Seen, Touched, TouchedKeys, Write};
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::hashing::hash;

impl Transaction {
    /// The position of a key among the touched ones, if it is one of them.
    pub(super) fn touched(&self, key: &[u8]) -> Option<usize> {
        self.keys.find(self.database, hash(key), key)
    }

    /// Reads a key unless it was touched before; returns its position among the touched keys.
    pub(super) fn load(&mut self, key: &[u8]) -> Result<usize, StoreError> {
        let hash = hash(key);
        if self.reads_latest() {
            // Nothing is remembered, so the transaction stays small however many keys it reads.
            self.keys = TouchedKeys::default();
            self.snapshot = None;
        }
        if let Some(at) = self.keys.find(self.database, hash, key) {
            if self.keys[at].unread {
                self.read_again(at)?;
            }
            return Ok(at);
        }
        if self.is_cleared(self.database) {
            return Ok(self.keys.push(Touched {
                database: self.database,
                hash,
                key: Blob::new(key),
                seen: Seen::Nothing,
                value: None,
                deadline: Deadline::NEVER,
                write: Write::Nothing,
                unread: false,
                savepoint: 0,
            }));
        }
        let touched = self.fetch(hash, key)?;
        Ok(self.keys.push(touched))
    }

    /// Reads a key that was not written; returns its entry's version, 0 if there is no such key.
    pub(crate) fn version(&mut self, key: &[u8]) -> Result<u64, StoreError> {
        let at = self.load(key)?;
        Ok(match self.keys[at].seen {
            Seen::Nothing | Seen::Absent => 0,
            Seen::Version(version) => version,
        })
    }

    /// Reads a key whose value was taken back.
    #[cold]
    fn read_again(&mut self, at: usize) -> Result<(), StoreError> {
        if !self.is_cleared(self.database) {
            let (hash, key) = (self.keys[at].hash, self.keys[at].key.clone());
            let fetched = self.fetch(hash, &key)?;
            let touched = &mut self.keys[at];
            if touched.seen != Seen::Nothing && touched.seen != fetched.seen {
                self.lost = true;
                return Err(StoreError::Conflict);
            }
            touched.seen = fetched.seen;
            touched.value = fetched.value;
            touched.deadline = fetched.deadline;
        }
        self.keys[at].unread = false;
        Ok(())
    }

    /// Makes sure that the transaction knows if a key that it only wrote existed before.
    pub(super) fn see(&mut self, at: usize) -> Result<(), StoreError> {
        if self.keys[at].seen == Seen::Nothing && !self.is_cleared(self.keys[at].database) {
            let (hash, key) = (self.keys[at].hash, self.keys[at].key.clone());
            let database = std::mem::replace(&mut self.database, self.keys[at].database);
            let fetched = self.fetch(hash, &key);
            self.database = database;
            self.keys[at].seen = fetched?.seen;
        }
        Ok(())
    }

    fn fetch(&mut self, hash: u64, key: &[u8]) -> Result<Touched, StoreError> {
        if self.overlay.is_some() {
            return self.miss(hash, key);
        }
        let database = self.database as usize;
        loop {
            let snapshot = self.snapshot()?;
            let mut shard = self.core.lock(shard_of(hash));
            let table = &shard.tables[database];
            let place = table.find(hash, key);
            let entry = place.and_then(|place| table.at(place));
            let (newest, deadline) = match entry {
                Some(entry) => (entry.version.max(table.placed_at), entry.deadline),
                // If a commit removed the key, its version is at most this.
                None => (shard.modified_at, Deadline::NEVER),
            };
            let fields_until = entry.map_or(Deadline::NEVER, |entry| {
                entry.value.earliest_field_deadline()
            });
            let mut passed = |deadline: Deadline| {
                !deadline.is_never()
                    && deadline
                        .has_passed(*self.now.get_or_insert_with(|| self.core.clock.now_millis()))
            };
            let expired = passed(deadline);
            if (expired || passed(fields_until)) && !shard.is_reserved(self.database, key) {
                // A reader that finds a key or fields of a hash expired removes them, so that no
                // transaction that saw them before can commit afterwards.
                let locked = LockedShards::One(shard_of(hash), shard);
                let mut direct = Direct::new(&self.core, locked, self.database);
                direct.set_now(self.now.unwrap_or(i64::MIN));
                direct.get(key)?;
                direct.finish();
                continue;
            }
            if newest > snapshot {
                drop(shard);
                self.extend()?;
                continue;
            }
            if let Some(exclusive) = &mut self.exclusive {
                shard
                    .reserved
                    .get_or_insert_default()
                    .add(self.database, key);
                exclusive.note(shard_of(hash));
            }
            if self.reads {
                shard.lookups.note(place.is_some() && !expired);
            }
            let table = &shard.tables[database];
            let live = place.filter(|_| !expired).and_then(|place| table.at(place));
            return Ok(match live {
                Some(entry) => Touched {
                    database: self.database,
                    hash,
                    key: entry.key.clone(),
                    seen: Seen::Version(entry.version),
                    value: Some(entry.value.clone()),
                    deadline,
                    write: Write::Nothing,
                    unread: false,
                    savepoint: 0,
                },
                None => Touched {
                    database: self.database,
                    hash,
                    key: Blob::new(key),
                    seen: Seen::Absent,
                    value: None,
                    deadline: Deadline::NEVER,
                    write: Write::Nothing,
                    unread: false,
                    savepoint: 0,
                },
            });
        }
    }

    /// Reads the whole set of keys of one shard of the current database.
    pub(super) fn look_at_members<R>(
        &mut self,
        index: usize,
        look: impl FnOnce(&Shard) -> R,
    ) -> Result<R, StoreError> {
        if self.overlay.is_some() {
            return Err(ALL_KEYS);
        }
        let member = (self.database, index);
        loop {
            let snapshot = self.snapshot()?;
            let mut shard = self.core.lock(index);
            if self.reads_latest() {
                return Ok(look(&shard));
            }
            if shard.membership_at[self.database as usize] > snapshot {
                drop(shard);
                self.extend()?;
                continue;
            }
            if let Some(exclusive) = &mut self.exclusive {
                shard.reserved.get_or_insert_default().everything = true;
                exclusive.note(index);
            }
            if !self.members.contains(&member) {
                self.members.push(member);
            }
            return Ok(look(&shard));
        }
    }

    /// Returns true if the reads need not agree with each other.
    fn reads_latest(&self) -> bool {
        self.mode == Mode::ReadLatest && self.overlay.is_none()
    }

    pub(super) fn is_cleared(&self, database: u32) -> bool {
        self.cleared & (1 << database) != 0
    }

    fn snapshot(&mut self) -> Result<u64, StoreError> {
        if self.lost {
            return Err(StoreError::Conflict);
        }
        Ok(*self.snapshot.get_or_insert_with(|| self.core.latest()))
    }

    /// Moves the snapshot to the present if everything read so far is still valid.
    fn extend(&mut self) -> Result<(), StoreError> {
        let snapshot = self.snapshot()?;
        let latest = self.core.latest();
        let keys_stand = self.keys.iter().all(|touched| {
            touched.seen == Seen::Nothing || {
                let shard = self.core.lock(shard_of(touched.hash));
                stands(&shard, touched, self.now)
            }
        });
        let members_stand = self.members.iter().all(|&(database, index)| {
            self.core.lock(index).membership_at[database as usize] <= snapshot
        });
        if keys_stand && members_stand {
            self.snapshot = Some(latest);
            Ok(())
        } else {
            self.lost = true;
            Err(StoreError::Conflict)
        }
    }
}

/// Returns true if a key is still as it was read.
pub(super) fn stands(shard: &Shard, touched: &Touched, now: Option<i64>) -> bool {
    let entry = shard.tables[touched.database as usize].get(touched.hash, &touched.key);
    match (touched.seen, entry) {
        (Seen::Nothing, _) | (Seen::Absent, None) => true,
        (Seen::Version(version), Some(entry)) => entry.version == version,
        // A reserved entry that has expired stays in the table, and counts as absent.
        (Seen::Absent, Some(entry)) => now.is_some_and(|now| entry.deadline.has_passed(now)),
        (Seen::Version(_), None) => false,
    }
}
