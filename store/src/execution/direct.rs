//! The view of a plain command: it works on the locked shards themselves.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::blocking::{BlockedRequest, Ready, Waiter};
use crate::durable::Receipt;
use crate::error::StoreError;
use crate::events::{Change, Recorder};
use crate::execution::core::Core;
use crate::execution::edit::{self, Edit};
use crate::execution::shard_locks::LockedShards;
use crate::execution::view::{Live, Missing, View};
use crate::keyspace::deadline::Deadline;
use crate::keyspace::effect::{Effect, Effects};
use crate::keyspace::shard::{DATABASES, SHARDS, Shard, shard_of};
use crate::keyspace::table::{Entry, Place, SHARD_BITS, Table};
use crate::options::Limits;
use crate::value::blob::Blob;
use crate::value::hashing::hash;
use crate::value::kind::Kind;
use crate::value::{Hash, Value};

/// An internal error: the command's table row does not declare a key that it uses.
const UNDECLARED: StoreError =
    StoreError::Refused("ERR the command touched a key that it did not declare");

/// The locked shards, and the changes of one commit to them.
pub(crate) struct Direct<'s> {
    core: &'s Core,
    locked: LockedShards<'s>,
    database: u32,
    now: Option<i64>,
    /// The version of every change of this command; assigned at its first change.
    version: Option<u64>,
    effects: Option<Effects>,
    /// Changes and events; `None` while nobody wants to know.
    recorder: Option<Box<Recorder>>,
    /// Keys that now hold something a blocked client may be waiting for.
    ready: Ready,
    /// True if a command that finds nothing may wait.
    may_block: bool,
    /// True if keys that are looked up count as read.
    reads: bool,
    waiter: Option<Arc<Waiter>>,
    /// Removed or replaced values. They are freed after the locks are released.
    removed: SmallVec<[Value; 1]>,
    cleared: Vec<Table>,
}

/// Results of a command that has released its locks.
pub(crate) struct Finished {
    pub(crate) receipt: Receipt,
    pub(crate) ready: Ready,
}

impl<'s> Direct<'s> {
    pub(crate) fn new(core: &'s Core, locked: LockedShards<'s>, database: u32) -> Self {
        Self {
            core,
            locked,
            database,
            now: None,
            version: None,
            effects: core.queue.is_some().then(Effects::new),
            recorder: core.recorder(),
            ready: SmallVec::new(),
            may_block: false,
            reads: false,
            waiter: None,
            removed: SmallVec::new(),
            cleared: Vec::new(),
        }
    }

    /// Returns true if an exclusive transaction has reserved any of these keys.
    pub(crate) fn any_reserved<'k>(&mut self, mut keys: impl Iterator<Item = &'k [u8]>) -> bool {
        let database = self.database;
        keys.any(|key| {
            self.locked
                .shard(shard_of(hash(key)))
                .is_some_and(|shard| shard.is_reserved(database, key))
        })
    }

    /// Returns true if an exclusive transaction has reserved anything.
    pub(crate) fn anything_reserved(&mut self) -> bool {
        self.locked.any(|shard| shard.reserved.is_some())
    }

    /// Fixes the time of this command; otherwise the clock is read when it is first needed.
    pub(crate) fn set_now(&mut self, now: i64) {
        self.now = Some(now);
    }

    pub(crate) fn has_written(&self) -> bool {
        self.version.is_some()
    }

    /// Names the changes so far as events of a command.
    pub(crate) fn name_events(&mut self, command: &str, argv: &[&[u8]]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.name(command, argv);
        }
    }

    /// Tells the events of a transaction instead of the changes that applying it makes.
    pub(crate) fn tell_instead(&mut self, recorder: Option<Box<Recorder>>) {
        self.recorder = recorder;
    }

    fn record(&mut self, key: &[u8], change: impl FnOnce() -> Change) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(self.database, key, change());
        }
    }

    /// Ends the command and releases the locks.
    pub(crate) fn finish(self) -> Finished {
        if let (Some(recorder), Some(observer)) = (&self.recorder, self.core.observer.get()) {
            recorder.tell(&**observer);
        }
        let receipt = match (&self.core.queue, self.effects) {
            // Still under the locks, so that the queue is in the order of the commits.
            (Some(queue), Some(effects)) if !effects.is_empty() => queue.push(effects),
            _ => Receipt::immediate(),
        };
        Finished {
            receipt,
            ready: self.ready,
        }
    }

    /// Counts the keys that the command looks up, or not.
    pub(crate) fn count_reads(&mut self, reads: bool) {
        self.reads = reads;
    }

    /// Lets a blocking command wait, instead of replying that there is nothing.
    pub(crate) fn allow_blocking(&mut self) {
        self.may_block = true;
    }

    /// Takes the waiting client that a blocking command has created.
    pub(crate) fn take_waiter(&mut self) -> Option<Arc<Waiter>> {
        self.waiter.take()
    }

    /// Replaces a value by a changed copy; `effects` are the changes.
    pub(crate) fn replace(
        &mut self,
        key: &[u8],
        value: Value,
        deadline: Deadline,
        effects: Effects,
    ) -> Result<(), StoreError> {
        let hash = hash(key);
        let Some(place) = self.find(hash, key)? else {
            return Ok(());
        };
        let Some(entry) = self.entry(hash, place)? else {
            return Ok(());
        };
        entry.value = value;
        let old = std::mem::replace(&mut entry.deadline, deadline);
        self.touch(hash, place)?;
        let database = self.database as usize;
        self.shard(shard_of(hash))?.tables[database].deadline_changed(hash, old, deadline);
        if let Some(own) = &mut self.effects {
            own.extend(effects);
        }
        Ok(())
    }

    fn shard(&mut self, index: usize) -> Result<&mut Shard, StoreError> {
        self.locked.shard(index).ok_or(UNDECLARED)
    }

    fn version(&mut self) -> u64 {
        *self.version.get_or_insert_with(|| self.core.tick())
    }

    /// Position of a live entry. Removes an expired one.
    fn find(&mut self, hash: u64, key: &[u8]) -> Result<Option<Place>, StoreError> {
        let database = self.database;
        let table = &self.shard(shard_of(hash))?.tables[database as usize];
        let Some(place) = table.find(hash, key) else {
            return Ok(None);
        };
        let Some(entry) = table.at(place) else {
            return Ok(None);
        };
        let deadline = entry.deadline;
        let fields_until = entry.value.earliest_field_deadline();
        if deadline.is_never() || !deadline.has_passed(self.now()) {
            return if fields_until.is_never() || !fields_until.has_passed(self.now()) {
                Ok(Some(place))
            } else {
                self.remove_expired_fields(hash, key, place)
            };
        }
        // An exclusive transaction relies on a reserved entry and removes it itself later.
        let shard = self.shard(shard_of(hash))?;
        if shard.is_reserved(database, key) {
            shard.tables[database as usize].note_deadline(hash, deadline);
        } else {
            shard.lookups.expired += 1;
            self.record(key, || Change::Expired);
            self.take(hash, key)?;
        }
        Ok(None)
    }

    /// Removes the expired fields of a hash; returns `None` if it had no others.
    #[cold]
    fn remove_expired_fields(
        &mut self,
        hash: u64,
        key: &[u8],
        place: Place,
    ) -> Result<Option<Place>, StoreError> {
        let database = self.database;
        let now = self.now();
        if self.shard(shard_of(hash))?.is_reserved(database, key) {
            // An exclusive transaction relies on the fields that it saw.
            return Ok(Some(place));
        }
        let mut effects = self.effects.take();
        let Some(entry) = self.entry(hash, place)? else {
            return Ok(None);
        };
        let (_, changed) = edit::run(
            &mut entry.value,
            effects.as_mut(),
            |hash: &mut Edit<'_, Hash>| {
                hash.remove_expired(now);
                Ok(())
            },
        );
        let empty = entry.value.is_empty_collection();
        self.effects = effects;
        self.record(key, || Change::FieldsExpired);
        if empty {
            self.record(key, || Change::Removed);
            self.take(hash, key)?;
            return Ok(None);
        }
        if changed {
            self.touch(hash, place)?;
        }
        Ok(Some(place))
    }

    fn entry(&mut self, hash: u64, place: Place) -> Result<Option<&mut Entry>, StoreError> {
        let database = self.database as usize;
        Ok(self.shard(shard_of(hash))?.tables[database].at_mut(place))
    }

    /// Removes an entry, whether or not it has expired.
    fn take(&mut self, hash: u64, key: &[u8]) -> Result<bool, StoreError> {
        let database = self.database;
        let version = self.version();
        let shard = self.shard(shard_of(hash))?;
        let Some(entry) = shard.tables[database as usize].remove(hash, key) else {
            return Ok(false);
        };
        shard.modified_at = version;
        shard.membership_at[database as usize] = version;
        self.note(|| Effect::Remove {
            database,
            key: entry.key.clone(),
            old: entry.value.clone(),
        });
        self.bury(entry.value);
        Ok(true)
    }

    /// Adds an entry for a key that has none.
    fn add(
        &mut self,
        hash: u64,
        key: &[u8],
        value: Value,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let database = self.database;
        let version = self.version();
        let key = Blob::new(key);
        if value.can_be_awaited() {
            self.ready.push((database, key.clone()));
        }
        let shard = self.shard(shard_of(hash))?;
        shard.tables[database as usize].insert(
            hash,
            Entry {
                key,
                value,
                deadline,
                version,
            },
        );
        shard.modified_at = version;
        shard.membership_at[database as usize] = version;
        Ok(())
    }

    /// Keeps a value until the locks are released, if freeing it may take long.
    fn bury(&mut self, value: Value) {
        if value.id() != 0 {
            self.removed.push(value);
        }
    }

    fn note(&mut self, effect: impl FnOnce() -> Effect) {
        if let Some(effects) = &mut self.effects {
            effects.push(effect());
        }
    }

    /// Gives a new version to an entry that was changed in place.
    fn touch(&mut self, hash: u64, place: Place) -> Result<(), StoreError> {
        let version = self.version();
        let database = self.database as usize;
        let shard = self.shard(shard_of(hash))?;
        shard.modified_at = version;
        if let Some(entry) = shard.tables[database].at_mut(place) {
            entry.version = version;
            let fields_until = entry.value.earliest_field_deadline();
            if !fields_until.is_never() {
                shard.tables[database].note_deadline(hash, fields_until);
            }
        }
        Ok(())
    }
}

impl View for Direct<'_> {
    fn database(&self) -> u32 {
        self.database
    }

    fn select(&mut self, database: u32) {
        self.database = database;
    }

    fn now(&mut self) -> i64 {
        *self.now.get_or_insert_with(|| self.core.clock.now_millis())
    }

    fn limits(&self) -> &Limits {
        &self.core.limits
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Live<'_>>, StoreError> {
        let hash = hash(key);
        let place = self.find(hash, key)?;
        if self.reads {
            self.shard(shard_of(hash))?.lookups.note(place.is_some());
        }
        let Some(place) = place else {
            return Ok(None);
        };
        let entry = self.entry(hash, place)?;
        Ok(entry.map(|entry| Live {
            value: &entry.value,
            deadline: entry.deadline,
        }))
    }

    fn put(&mut self, key: &[u8], value: Value, deadline: Deadline) -> Result<(), StoreError> {
        if value.is_empty_collection() || (!deadline.is_never() && deadline.has_passed(self.now()))
        {
            self.remove(key)?;
            return Ok(());
        }
        self.record(key, || Change::written(&value));
        let hash = hash(key);
        let database = self.database;
        let effect = self.effects.is_some().then(|| Effect::Put {
            database,
            key: Blob::new(key),
            value: value.clone(),
            deadline,
        });
        let version = self.version();
        let clock = &self.core.clock;
        let now = &mut self.now;
        let Some(shard) = self.locked.shard(shard_of(hash)) else {
            return Err(UNDECLARED);
        };
        let table = &mut shard.tables[database as usize];
        match table.find(hash, key).and_then(|place| table.at_mut(place)) {
            Some(entry) => {
                // A transaction that counted the keys did not count an expired one.
                let revived = !entry.deadline.is_never()
                    && entry
                        .deadline
                        .has_passed(*now.get_or_insert_with(|| clock.now_millis()));
                let same_type = entry.value.is_same_type(&value);
                let awaited = !same_type && value.can_be_awaited();
                let old = std::mem::replace(&mut entry.value, value);
                let old_deadline = std::mem::replace(&mut entry.deadline, deadline);
                entry.version = version;
                let fields_until = entry.value.earliest_field_deadline();
                shard.modified_at = version;
                if !same_type || revived {
                    shard.membership_at[database as usize] = version;
                }
                let table = &mut shard.tables[database as usize];
                table.deadline_changed(hash, old_deadline, deadline);
                if !fields_until.is_never() {
                    table.note_deadline(hash, fields_until);
                }
                if awaited {
                    self.ready.push((database, Blob::new(key)));
                }
                if old.id() != 0 {
                    self.note(|| Effect::Discard { old: old.clone() });
                }
                self.bury(old);
            }
            None => self.add(hash, key, value, deadline)?,
        }
        if let (Some(effects), Some(effect)) = (&mut self.effects, effect) {
            effects.push(effect);
        }
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        let hash = hash(key);
        match self.find(hash, key)? {
            Some(_) => {
                self.record(key, || Change::Removed);
                self.take(hash, key)
            }
            None => Ok(false),
        }
    }

    fn set_deadline(&mut self, key: &[u8], deadline: Deadline) -> Result<bool, StoreError> {
        let hash = hash(key);
        let Some(place) = self.find(hash, key)? else {
            return Ok(false);
        };
        self.record(key, || Change::Deadline);
        let database = self.database;
        let following = self.effects.is_some();
        let Some(entry) = self.entry(hash, place)? else {
            return Ok(false);
        };
        let old = std::mem::replace(&mut entry.deadline, deadline);
        let effect = following.then(|| Effect::Describe {
            database,
            key: entry.key.clone(),
            value: entry.value.clone(),
            deadline,
        });
        self.touch(hash, place)?;
        self.shard(shard_of(hash))?.tables[database as usize].deadline_changed(hash, old, deadline);
        self.effects
            .iter_mut()
            .for_each(|effects| effects.extend(effect.clone()));
        Ok(true)
    }

    fn update<T: Kind, R>(
        &mut self,
        key: &[u8],
        missing: Missing,
        edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, StoreError>,
    ) -> Result<Option<R>, StoreError> {
        let hash = hash(key);
        let database = self.database;
        let place = self.find(hash, key)?;
        // Taken out while the shard is borrowed; every exit puts it back.
        let mut effects = self.effects.take();
        if let Some(place) = place {
            let Some(entry) = self.entry(hash, place)? else {
                return Ok(None);
            };
            let (result, changed) = edit::run(&mut entry.value, effects.as_mut(), edit);
            let empty = changed && entry.value.is_empty_collection();
            let written = Change::written(&entry.value);
            if let (true, false, Value::Text(_), Some(effects)) =
                (changed, empty, &entry.value, &mut effects)
            {
                effects.push(Effect::Put {
                    database,
                    key: entry.key.clone(),
                    value: entry.value.clone(),
                    deadline: entry.deadline,
                });
            }
            self.effects = effects;
            if changed {
                self.record(key, || written);
            }
            if empty {
                self.record(key, || Change::Removed);
                self.take(hash, key)?;
            } else if changed {
                self.touch(hash, place)?;
            }
            return result.map(Some);
        }
        if missing == Missing::Skip {
            self.effects = effects;
            return Ok(None);
        }
        let mut value: Value = T::default().into();
        let (result, changed) = edit::run(&mut value, None, edit);
        self.effects = effects;
        if changed && !value.is_empty_collection() {
            self.record(key, || Change::written(&value));
            self.note(|| Effect::Put {
                database,
                key: Blob::new(key),
                value: value.clone(),
                deadline: Deadline::NEVER,
            });
            self.add(hash, key, value, Deadline::NEVER)?;
        }
        result.map(Some)
    }

    fn len(&mut self) -> Result<usize, StoreError> {
        let database = self.database as usize;
        let mut len = 0;
        self.locked
            .each(|shard| len += shard.tables[database].len());
        Ok(len)
    }

    fn scan(
        &mut self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&Blob, &Value),
    ) -> Result<u64, StoreError> {
        let now = self.now();
        let database = self.database as usize;
        let next = scan_shards(cursor, count, |shard, cursor, count| {
            let table = &self.shard(shard)?.tables[database];
            Ok(table.scan(cursor, count, |entry| {
                if !entry.deadline.has_passed(now) {
                    visit(&entry.key, &entry.value);
                }
            }))
        });
        self.locked.release_turn();
        next
    }

    fn random_key(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let now = self.now();
        let database = self.database as usize;
        let mut shards: SmallVec<[(usize, usize); SHARDS]> = SmallVec::new();
        let mut total = 0;
        self.locked.each(|shard| {
            total += shard.tables[database].len();
            shards.push((shards.len(), total));
        });
        // Expired keys are drawn too, so the search gives up if it finds nothing else.
        for _ in 0..100.min(total * 4) {
            let nth = fastrand::usize(..total);
            let index = shards[shards.partition_point(|(_, sum)| *sum <= nth)].0;
            let place = fastrand::u64(..) >> SHARD_BITS;
            let table = &self.shard(index)?.tables[database];
            if let Some(entry) = table.random(place, fastrand::u64(..))
                && !entry.deadline.has_passed(now)
            {
                return Ok(Some(entry.key.to_vec()));
            }
        }
        let mut found = None;
        self.locked.each(|shard| {
            if found.is_none() {
                let live = shard.tables[database]
                    .iter()
                    .find(|entry| !entry.deadline.has_passed(now));
                found = live.map(|entry| entry.key.to_vec());
            }
        });
        Ok(found)
    }

    fn clear(&mut self, database: Option<u32>) -> Result<(), StoreError> {
        let version = self.version();
        let chosen = database.map_or(0..DATABASES, |one| one as usize..one as usize + 1);
        let cleared = &mut self.cleared;
        self.locked.each(|shard| {
            for database in chosen.clone() {
                if shard.tables[database].len() > 0 {
                    cleared.push(std::mem::take(&mut shard.tables[database]));
                    shard.modified_at = version;
                    shard.membership_at[database] = version;
                }
            }
        });
        for database in chosen {
            self.note(|| Effect::Clear {
                database: database as u32,
            });
        }
        Ok(())
    }

    fn swap(&mut self, databases: [u32; 2]) -> Result<(), StoreError> {
        let [left, right] = databases.map(|database| database as usize);
        if left == right {
            return Ok(());
        }
        let version = self.version();
        let (core, ready) = (self.core, &mut self.ready);
        self.locked.each(|shard| {
            shard.tables.swap(left, right);
            shard.modified_at = version;
            for database in [left, right] {
                shard.membership_at[database] = version;
                shard.tables[database].placed_at = version;
            }
            if !core.blocked.is_empty() {
                for database in [left, right] {
                    let awaited = shard.tables[database]
                        .iter()
                        .filter(|e| e.value.can_be_awaited());
                    ready.extend(awaited.map(|entry| (database as u32, entry.key.clone())));
                }
            }
        });
        self.note(|| Effect::Swap { databases });
        Ok(())
    }

    fn block(&mut self, wait: BlockedRequest) -> Option<BlockedRequest> {
        if self.may_block {
            self.waiter = Some(self.core.blocked.add(wait));
            None
        } else {
            Some(wait)
        }
    }

    fn shows(&self, _: &[u8]) -> bool {
        true
    }
}

/// Scans the shards in the order of hashes, from the one that contains the cursor.
///
/// `scan` visits one shard, subtracts the visited keys from the count, and returns the position in
/// the same shard to continue from.
pub(crate) fn scan_shards(
    cursor: u64,
    count: usize,
    mut scan: impl FnMut(usize, u64, &mut usize) -> Result<Option<u64>, StoreError>,
) -> Result<u64, StoreError> {
    let mut cursor = cursor;
    let mut count = count.max(1);
    loop {
        let shard = shard_of(cursor);
        cursor = match scan(shard, cursor, &mut count)? {
            Some(next) => next,
            None if shard + 1 == SHARDS => return Ok(0),
            None => ((shard + 1) as u64) << (64 - SHARD_BITS),
        };
        if count == 0 {
            return Ok(cursor);
        }
    }
}
