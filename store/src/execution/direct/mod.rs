//! The view of a plain command: it works on the locked shards themselves.

mod view;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use crate::blocking::{Ready, Waiter};
use crate::durable::{OwnEffects, Receipt};
use crate::error::StoreError;
use crate::events::{Change, Recorder};
use crate::execution::core::Core;
use crate::execution::edit::{self, Edit, Edited};
use crate::execution::shard_locks::LockedShards;
use crate::execution::view::View as _;
use crate::keyspace::effect::{Effect, Effects};
use crate::keyspace::entries::Entry;
use crate::keyspace::records::{RecordChange, Records};
use crate::keyspace::shard::{Shard, shard_of};
use crate::keyspace::table::{Place, Table};
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::hashing::hash;
use crate::value::{Hash, Value};

/// An internal error: the command's table row does not declare a key that it uses.
const UNDECLARED: StoreError =
    StoreError::Refused("ERR the command touched a key that it did not declare");

/// Error of a commit that depends on a record of the host which others have removed.
const RECORD_GONE: StoreError = StoreError::Refused(
    "what was to be changed was delivered, retried or removed meanwhile; look again",
);

/// Elements that are freed at once from which on they are counted.
const COUNTED_FREED_MIN: usize = 1024;

/// The locked shards, and the changes of one commit to them.
pub(crate) struct Direct<'s> {
    core: &'s Core,
    locked: LockedShards<'s>,
    database: u32,
    now: Option<i64>,
    /// The version of every change of this command; assigned at its first change.
    version: Option<u64>,
    effects: Option<OwnEffects>,
    /// Changes of the host's records, made when the command ends.
    records: Vec<RecordChange>,
    /// The host's records, locked if the command depends on what they are.
    locked_records: Option<MutexGuard<'s, Records>>,
    /// Changes and events; `None` while nobody wants to know.
    recorder: Option<Box<Recorder>>,
    /// The depth of the events.
    event_depth: u32,
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
            effects: core.queue.is_some().then(OwnEffects::new),
            records: Vec::new(),
            locked_records: None,
            recorder: core.recorder(),
            event_depth: 0,
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
        self.version.is_some() || !self.records.is_empty()
    }

    /// Names the changes so far as events of a command.
    pub(crate) fn name_events(&mut self, command: &str, argv: &[&[u8]]) {
        if self.recorder.is_none() {
            return;
        }
        let now = self.now();
        // Taken out while the shards are borrowed, and put back afterwards.
        if let Some(mut recorder) = self.recorder.take() {
            recorder.name(command, argv, now);
            recorder.capture(|database, key| self.peek(database, key));
            self.recorder = Some(recorder);
        }
    }

    /// Returns what a key holds, whether or not it has expired. Changes nothing.
    fn peek(&mut self, database: u32, key: &[u8]) -> Option<Value> {
        let hash = hash(key);
        let shard = self.locked.shard(shard_of(hash))?;
        let entry = shard.tables[database as usize].get(hash, key)?;
        Some(entry.value.clone())
    }

    /// Remembers what a key holds before the running command changes it, if the sink wants its events.
    #[inline]
    fn remember(&mut self, key: &[u8], expires: bool) {
        if self.recorder.is_some() {
            self.remember_wanted(key, expires);
        }
    }

    #[cold]
    fn remember_wanted(&mut self, key: &[u8], expires: bool) {
        let database = self.database;
        let core = self.core;
        let wanted = match (&self.recorder, core.sink.get()) {
            (Some(recorder), Some(sink)) => recorder.must_remember(&**sink, database, key),
            _ => false,
        };
        if !wanted {
            return;
        }
        let now = self.now();
        let hash = hash(key);
        let live = self.locked.shard(shard_of(hash)).is_some_and(|shard| {
            let entry = shard.tables[database as usize].get(hash, key);
            entry.is_some_and(|entry| !entry.deadline.has_passed(now))
        });
        let value = (live || expires)
            .then(|| self.peek(database, key))
            .flatten();
        if let Some(recorder) = &mut self.recorder {
            recorder.remember(database, key, value);
        }
    }

    /// Sets the depth of the events of this commit.
    pub(crate) fn set_event_depth(&mut self, depth: u32) {
        self.event_depth = depth;
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

    /// Fails if one of these records of the host is not here. From then on, only this command changes records.
    pub(crate) fn require_records(&mut self, required: &[Blob]) -> Result<(), StoreError> {
        if required.is_empty() {
            return Ok(());
        }
        let core = self.core;
        let records = self
            .locked_records
            .get_or_insert_with(|| core.records.lock());
        match required.iter().all(|name| records.get(name).is_some()) {
            true => Ok(()),
            false => Err(RECORD_GONE),
        }
    }

    /// Changes records of the host together with what the command changes.
    pub(crate) fn change_records(&mut self, mut changes: Vec<RecordChange>) {
        self.records.append(&mut changes);
    }

    /// Ends the command and releases the locks.
    pub(crate) fn finish(mut self) -> Finished {
        if let (Some(recorder), Some(observer)) = (&self.recorder, self.core.observer.get()) {
            recorder.tell(&**observer);
        }
        let sink = self.core.sink.get();
        let mut kept = Vec::new();
        // Records of a transaction; those of events follow behind.
        let set = self.records.len();
        if let (Some(recorder), Some(sink)) = (&mut self.recorder, sink) {
            recorder.name_expiry();
            // Nothing was put in the place of what expired.
            recorder.capture(|_, _| None);
            if recorder.has_captured() {
                kept = recorder.records(&**sink, self.event_depth);
                self.records
                    .extend(kept.iter().map(|(name, value)| RecordChange {
                        name: Blob::new(name),
                        value: Some(Blob::new(value)),
                    }));
            }
        }
        // Locked until the commit is in the queue, so that the queue is in the order of commits for
        // every record, too.
        let locked = self.locked_records.take();
        let mut records =
            locked.or_else(|| (!self.records.is_empty()).then(|| self.core.records.lock()));
        if let Some(records) = &mut records {
            for (index, change) in std::mem::take(&mut self.records).into_iter().enumerate() {
                let changed = records.apply(&change);
                let RecordChange { name, value } = change;
                if let (Some(sink), Some(value), true) = (sink, &value, index < set) {
                    sink.record_set(name.as_slice(), value.as_slice());
                }
                match value {
                    Some(value) => self.note(|| Effect::Record { name, value }),
                    None if changed => self.note(|| Effect::RecordGone { name }),
                    None => {}
                }
            }
        }
        let receipt = match (&self.core.queue, self.effects) {
            // Still under the locks, so that the queue is in the order of the commits.
            (Some(queue), Some(mut effects)) if !effects.is_empty() => queue.push(&mut effects),
            _ => Receipt::immediate(),
        };
        drop(records);
        // The locks of the keys are still held.
        if let Some(sink) = sink
            && !kept.is_empty()
        {
            sink.committed(kept);
        }
        let Self {
            core,
            locked,
            removed,
            cleared,
            ready,
            ..
        } = self;
        drop(locked);
        let freed = removed.iter().map(Value::len).sum::<usize>()
            + cleared.iter().map(Table::len).sum::<usize>();
        drop((removed, cleared));
        if freed >= COUNTED_FREED_MIN {
            core.freed.fetch_add(freed as u64, Ordering::Relaxed);
        }
        Finished { receipt, ready }
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
            self.remember(key, true);
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
            // An exclusive transaction relies on the fields that it saw. The search for what has
            // expired must find them again.
            let table = &mut self.shard(shard_of(hash))?.tables[database as usize];
            if let Some(entry) = table.at(place) {
                let earliest = entry.earliest();
                table.note_deadline(hash, earliest);
            }
            return Ok(Some(place));
        }
        self.remember(key, false);
        // Taken out while the shard is borrowed, and put back afterwards.
        let mut effects = self.effects.take();
        let Some(entry) = self.entry(hash, place)? else {
            self.effects = effects;
            return Ok(None);
        };
        let Edited { changed, .. } = edit::run(
            &mut entry.value,
            effects.as_deref_mut(),
            |hash: &mut Edit<'_, Hash>| {
                hash.remove_expired(now);
                Ok(())
            },
        );
        let empty = entry.value.is_empty_collection();
        let deadline = entry.deadline;
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
        // The search that found the fields has forgotten the deadline of the whole hash.
        let database = database as usize;
        self.shard(shard_of(hash))?.tables[database].note_deadline(hash, deadline);
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
