//! The view of a command inside a transaction.

use ferrite_protocol::budget::{self, Budget};

use super::Transaction;
use crate::blocking::BlockedRequest;
use crate::error::StoreError;
use crate::events::Change;
use crate::execution::edit::{self, Edit, Edited};
use crate::execution::listing::{ListedKeys, Listing};
use crate::execution::scan_shards::scan_shards;
use crate::execution::view::{Live, Missing, View};
use crate::keyspace::effect::{Effect, Effects};
use crate::keyspace::shard::{DATABASES, SHARDS};
use crate::options::Limits;
use crate::transaction::overlay::CLEAR;
use crate::transaction::read_write_set::{Seen, Touched, Write};
use crate::value::Value;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::hashing::hash;
use crate::value::kind::Kind;

/// A transaction, and the keys that its owner may be shown.
pub(crate) struct TransactionView<'t> {
    transaction: &'t mut Transaction,
    visible: &'t dyn Fn(&[u8]) -> bool,
    /// The budget of a command; `None` for typed operations, for which the host has charged.
    budget: Option<&'t Budget<'t>>,
}

impl<'t> TransactionView<'t> {
    pub(crate) fn new(
        transaction: &'t mut Transaction,
        visible: &'t dyn Fn(&[u8]) -> bool,
        budget: Option<&'t Budget<'t>>,
    ) -> Self {
        Self {
            transaction,
            visible,
            budget,
        }
    }

    /// Charges for an access to a key.
    #[inline]
    fn charge_access(&self, key: &[u8]) -> Result<(), StoreError> {
        if let Some(budget) = self.budget {
            budget.charge(budget::ACCESS + budget::bytes(key.len() as u64))?;
        }
        Ok(())
    }

    /// Charges for a value that is put as a whole, and counts its bytes.
    fn charge_value(&self, key: &[u8], value: &Value) -> Result<(), StoreError> {
        let Some(budget) = self.budget else {
            return Ok(());
        };
        budget.count_written(key.len() as u64)?;
        value.each_part(|len| {
            budget.charge(budget::ELEMENT)?;
            budget.count_written(len as u64)
        })?;
        Ok(())
    }

    fn writable(&self) -> Result<(), StoreError> {
        if self.transaction.mode.writes() {
            Ok(())
        } else {
            Err(StoreError::ReadOnly)
        }
    }

    /// Records a change of a key for the events of the running command.
    fn changed(&mut self, key: &[u8], change: Change) {
        let database = self.transaction.database;
        if let Some(recorder) = &mut self.transaction.recorder {
            recorder.record(database, key, change);
        }
    }

    /// Remembers what a key holds before the running command changes it, if the sink wants its events.
    #[inline]
    fn remember(&mut self, key: &[u8]) -> Result<(), StoreError> {
        if self.transaction.recorder.is_some() {
            return self.remember_wanted(key);
        }
        Ok(())
    }

    #[cold]
    fn remember_wanted(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let transaction = &mut *self.transaction;
        let database = transaction.database;
        let wanted = match (&transaction.recorder, transaction.core.sink.get()) {
            (Some(recorder), Some(sink)) => recorder.must_remember(&**sink, database, key),
            _ => false,
        };
        if wanted {
            let at = transaction.load(key)?;
            let value = transaction.keys[at].value.clone();
            if let Some(recorder) = &mut transaction.recorder {
                recorder.remember(database, key, value);
            }
        }
        Ok(())
    }

    /// Replaces or removes a key without reading it.
    fn write(&mut self, key: &[u8], value: Option<Value>, deadline: Deadline) {
        note_change(self.budget);
        let transaction = &mut *self.transaction;
        match transaction.touched(key) {
            Some(at) => {
                transaction.record(at);
                transaction.write_whole(at);
                let touched = &mut transaction.keys[at];
                touched.value = value;
                touched.deadline = deadline;
                touched.unread = false;
            }
            None => {
                let at = transaction.keys.push(Touched {
                    database: transaction.database,
                    hash: hash(key),
                    key: Blob::new(key),
                    seen: Seen::Nothing,
                    value,
                    deadline,
                    write: Write::Whole,
                    unread: false,
                    savepoint: 0,
                });
                transaction.record_pushed(at);
            }
        }
    }

    /// The keys of this database that the transaction itself has written, with their values.
    fn own(&self) -> impl Iterator<Item = &Touched> {
        let database = self.transaction.database;
        self.transaction
            .keys
            .iter()
            .filter(move |touched| touched.database == database && touched.is_written())
    }
}

/// Tells a command's budget that it changes something.
#[inline]
fn note_change(budget: Option<&Budget<'_>>) {
    if let Some(budget) = budget {
        budget.note_change();
    }
}

impl View for TransactionView<'_> {
    fn database(&self) -> u32 {
        self.transaction.database
    }

    fn select(&mut self, database: u32) {
        self.transaction.database = database;
    }

    fn now(&mut self) -> i64 {
        self.transaction.now()
    }

    fn limits(&self) -> &Limits {
        &self.transaction.core.limits
    }

    fn charge(&mut self, units: u64) -> Result<(), StoreError> {
        if let Some(budget) = self.budget {
            budget.charge(units)?;
        }
        Ok(())
    }

    fn count_written(&mut self, bytes: usize) -> Result<(), StoreError> {
        if let Some(budget) = self.budget {
            budget.count_written(bytes as u64)?;
        }
        Ok(())
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Live<'_>>, StoreError> {
        self.charge_access(key)?;
        self.transaction.reads = true;
        let at = self.transaction.load(key);
        self.transaction.reads = false;
        let at = at?;
        if self.transaction.overlay.is_some() {
            self.transaction.check_content(at)?;
        }
        let touched = &self.transaction.keys[at];
        Ok(touched.value.as_ref().map(|value| Live {
            value,
            deadline: touched.deadline,
        }))
    }

    fn prepare(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.get(key).map(drop)
    }

    fn exists(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.deadline(key)?.is_some())
    }

    /// Needs no value, so it works where an overlay has none.
    fn deadline(&mut self, key: &[u8]) -> Result<Option<Deadline>, StoreError> {
        self.charge_access(key)?;
        self.transaction.reads = true;
        let at = self.transaction.load(key);
        self.transaction.reads = false;
        let touched = &self.transaction.keys[at?];
        Ok(touched.value.as_ref().map(|_| touched.deadline))
    }

    fn put(&mut self, key: &[u8], value: Value, deadline: Deadline) -> Result<(), StoreError> {
        self.writable()?;
        self.charge_access(key)?;
        self.charge_value(key, &value)?;
        if value.is_empty_collection() || deadline.has_passed(self.now()) {
            self.remove(key)?;
            return Ok(());
        }
        self.remember(key)?;
        self.changed(key, Change::written(&value));
        self.write(key, Some(value), deadline);
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.writable()?;
        self.charge_access(key)?;
        self.remember(key)?;
        let at = self.transaction.load(key)?;
        let Some(value) = &self.transaction.keys[at].value else {
            return Ok(false);
        };
        if let Some(budget) = self.budget {
            // The commit frees them.
            budget.charge(budget::elements(value.len()))?;
        }
        self.changed(key, Change::Removed);
        note_change(self.budget);
        self.transaction.record(at);
        self.transaction.write_whole(at);
        self.transaction.keys[at].value = None;
        Ok(true)
    }

    fn set_deadline(&mut self, key: &[u8], deadline: Deadline) -> Result<bool, StoreError> {
        self.writable()?;
        self.charge_access(key)?;
        self.remember(key)?;
        let at = self.transaction.load(key)?;
        self.transaction.record(at);
        let touched = &mut self.transaction.keys[at];
        let Some(value) = &mut touched.value else {
            return Ok(false);
        };
        note_change(self.budget);
        touched.deadline = deadline;
        if self.transaction.core.queue.is_some() && edit::prepare_for_deadline(value) {
            self.transaction.write_whole(at);
            self.changed(key, Change::Deadline);
            return Ok(true);
        }
        let effect = Effect::Describe {
            database: touched.database,
            key: touched.key.clone(),
            value: value.clone(),
            deadline,
        };
        match &mut touched.write {
            Write::Whole => {}
            Write::Edited(effects) => effects.push(effect),
            Write::Nothing => touched.write = Write::Edited(vec![effect]),
        }
        self.changed(key, Change::Deadline);
        Ok(true)
    }

    fn update<T: Kind, R>(
        &mut self,
        key: &[u8],
        missing: Missing,
        edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, StoreError>,
    ) -> Result<Option<R>, StoreError> {
        self.writable()?;
        self.charge_access(key)?;
        self.remember(key)?;
        let at = self.transaction.load(key)?;
        if self.transaction.overlay.is_some() {
            self.transaction.check_content(at)?;
        }
        self.transaction.record(at);
        let touched = &mut self.transaction.keys[at];
        if let (Some(budget), Some(Value::Text(text))) = (self.budget, &touched.value) {
            budget.charge(budget::bytes(text.copied_by_an_edit() as u64))?;
        }
        let Some(value) = &mut touched.value else {
            if missing == Missing::Skip {
                return Ok(None);
            }
            let mut value: Value = T::default().into();
            let Edited {
                result, changed, ..
            } = edit::run(&mut value, None, edit);
            if changed {
                note_change(self.budget);
            }
            if changed && !value.is_empty_collection() {
                let change = Change::written(&value);
                touched.value = Some(value);
                touched.deadline = Deadline::NEVER;
                touched.write = Write::Whole;
                self.changed(key, change);
            }
            return result.map(Some);
        };
        let mut fresh = Effects::new();
        let effects = match &mut touched.write {
            Write::Whole => None,
            Write::Edited(effects) => Some(effects),
            Write::Nothing => Some(&mut fresh),
        };
        let Edited {
            result,
            changed,
            whole,
        } = edit::run(value, effects, edit);
        if changed {
            note_change(self.budget);
            let (change, empty) = (Change::written(value), value.is_empty_collection());
            if let Some(recorder) = &mut self.transaction.recorder {
                recorder.record(touched.database, key, change);
                if empty {
                    recorder.record(touched.database, key, Change::Removed);
                }
            }
            if empty {
                touched.value = None;
                self.transaction.write_whole(at);
            } else if whole.is_some() {
                self.transaction.write_whole(at);
            } else if !touched.is_written() {
                touched.write = Write::Edited(fresh);
            }
        }
        result.map(Some)
    }

    fn len(&mut self) -> Result<usize, StoreError> {
        self.charge(budget::elements(SHARDS + self.transaction.keys.len()))?;
        let transaction = &mut *self.transaction;
        if transaction.overlay.is_some() {
            return transaction.listed_len();
        }
        let database = transaction.database;
        let mut len = 0;
        if !transaction.is_cleared(database) {
            for shard in 0..SHARDS {
                len += transaction
                    .look_at_members(shard, |shard| shard.tables[database as usize].len())?;
            }
        }
        let own: Vec<usize> = transaction
            .keys
            .iter()
            .enumerate()
            .filter(|(_, touched)| touched.database == database && touched.is_written())
            .map(|(at, _)| at)
            .collect();
        for at in own {
            transaction.see(at)?;
            let touched = &transaction.keys[at];
            let was = matches!(touched.seen, Seen::Version(_)) && !transaction.is_cleared(database);
            len = len + usize::from(touched.value.is_some()) - usize::from(was);
        }
        Ok(len)
    }

    fn scan(
        &mut self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&Blob, &Value),
    ) -> Result<u64, StoreError> {
        // The shards of the step, and the touched keys, are gone through as well.
        self.charge(budget::elements(SHARDS + self.transaction.keys.len()))?;
        let now = self.now();
        let database = self.transaction.database;
        let mut found: Vec<(Blob, Value)> = Vec::new();
        let next = if self.transaction.is_cleared(database) {
            0
        } else {
            scan_shards(cursor, count, |shard, cursor, count| {
                self.transaction.look_at_members(shard, |shard| {
                    shard.tables[database as usize].scan(cursor, count, |entry| {
                        if !entry.deadline.has_passed(now) {
                            found.push((entry.key.clone(), entry.value.clone()));
                        }
                    })
                })
            })?
        };
        // At most a slice, which was short enough to be gone through at once.
        self.charge(budget::elements(found.len()))?;
        for (key, value) in &found {
            match self
                .transaction
                .touched(key)
                .map(|at| &self.transaction.keys[at])
            {
                Some(touched) if touched.is_written() => {}
                _ => visit(key, value),
            }
        }
        // Adds own writes in the range of hashes that this step covers.
        for touched in self.own() {
            if touched.hash >= cursor && (next == 0 || touched.hash < next) {
                touched
                    .value
                    .iter()
                    .for_each(|value| visit(&touched.key, value));
            }
        }
        Ok(next)
    }

    fn listed(&mut self, listing: &dyn Fn() -> Listing) -> Result<Option<ListedKeys>, StoreError> {
        if self.transaction.overlay.is_none() {
            return Ok(None);
        }
        self.charge(budget::elements(self.transaction.keys.len()))?;
        let listed = self.transaction.listed_keys(&listing())?;
        self.charge(budget::elements(listed.looked_at))?;
        Ok(Some(listed))
    }

    fn random_key(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        /// Keys that are looked at between two charges.
        const KEYS_PER_SLICE: usize = 1024;
        if self.transaction.overlay.is_some() {
            self.charge(budget::elements(self.transaction.keys.len()))?;
            return self.transaction.listed_random(self.visible);
        }
        // Simple because it is rare inside a transaction: collects all keys and picks one.
        let mut keys = Vec::new();
        let mut next = 0;
        loop {
            next = self.scan(next, KEYS_PER_SLICE, &mut |key, _| keys.push(key.clone()))?;
            if next == 0 {
                break;
            }
        }
        keys.retain(|key| self.shows(key));
        Ok((!keys.is_empty()).then(|| keys[fastrand::usize(..keys.len())].to_vec()))
    }

    fn clear(&mut self, database: Option<u32>) -> Result<(), StoreError> {
        self.writable()?;
        if self.transaction.overlay.is_some() {
            return Err(CLEAR);
        }
        let chosen = database.map_or(0..DATABASES as u32, |one| one..one + 1);
        self.charge(budget::elements(
            chosen.len() * (SHARDS + self.transaction.keys.len()),
        ))?;
        note_change(self.budget);
        for database in chosen {
            self.transaction.cleared |= 1 << database;
            for at in 0..self.transaction.keys.len() {
                if self.transaction.keys[at].database == database {
                    self.transaction.record(at);
                    self.transaction.write_whole(at);
                    let touched = &mut self.transaction.keys[at];
                    touched.value = None;
                    touched.write = Write::Nothing;
                    touched.unread = false;
                }
            }
        }
        Ok(())
    }

    fn swap(&mut self, _: [u32; 2]) -> Result<(), StoreError> {
        Err(StoreError::Refused(
            "ERR SWAPDB is not allowed inside a transaction",
        ))
    }

    fn block(&mut self, wait: BlockedRequest) -> Option<BlockedRequest> {
        Some(wait)
    }

    fn shows(&self, key: &[u8]) -> bool {
        (self.visible)(key)
    }
}
