//! The operations of commands on the locked shards.

use smallvec::SmallVec;

use super::{Direct, UNDECLARED};
use crate::blocking::BlockedRequest;
use crate::error::StoreError;
use crate::events::Change;
use crate::execution::edit::{self, Edit, Edited};
use crate::execution::scan_shards::scan_shards;
use crate::execution::view::{Live, Missing, View};
use crate::keyspace::effect::Effect;
use crate::keyspace::shard::{DATABASES, SHARDS, shard_of};
use crate::keyspace::table::SHARD_BITS;
use crate::options::Limits;
use crate::value::Value;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::hashing::hash;
use crate::value::kind::Kind;

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
        let hash = hash(key);
        let database = self.database;
        if self.recorder.is_some() {
            let now = self.now();
            let table = &self.shard(shard_of(hash))?.tables[database as usize];
            let old = table.get(hash, key);
            let expired = old.is_some_and(|old| old.deadline.has_passed(now));
            self.remember(key, expired);
            if expired {
                self.record(key, || Change::Expired);
            }
        }
        self.record(key, || Change::written(&value));
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
                shard.lookups.expired += u64::from(revived);
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
                self.remember(key, false);
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
        self.remember(key, false);
        self.record(key, || Change::Deadline);
        let database = self.database;
        let following = self.effects.is_some();
        let Some(entry) = self.entry(hash, place)? else {
            return Ok(false);
        };
        let old = std::mem::replace(&mut entry.deadline, deadline);
        let effect = following.then(|| {
            let anew = edit::prepare_for_deadline(&mut entry.value);
            let (key, value) = (entry.key.clone(), entry.value.clone());
            if anew {
                Effect::Put {
                    database,
                    key,
                    value,
                    deadline,
                }
            } else {
                Effect::Describe {
                    database,
                    key,
                    value,
                    deadline,
                }
            }
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
        self.remember(key, false);
        // Taken out while the shard is borrowed, and put back afterwards.
        let mut effects = self.effects.take();
        if let Some(place) = place {
            let Some(entry) = self.entry(hash, place)? else {
                self.effects = effects;
                return Ok(None);
            };
            let Edited {
                result,
                changed,
                whole,
            } = edit::run(&mut entry.value, effects.as_deref_mut(), edit);
            let empty = changed && entry.value.is_empty_collection();
            let written = Change::written(&entry.value);
            if let (Some(whole), Some(effects)) = (whole, &mut effects) {
                effects.extend(whole.abandoned.map(|id| Effect::Abandon { id }));
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
        let Edited {
            result, changed, ..
        } = edit::run(&mut value, None, edit);
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
        // One from each shard that has any, and of these any one.
        let (mut found, mut seen) = (None, 0);
        self.locked.each(|shard| {
            let place = fastrand::u64(..) >> SHARD_BITS;
            let live = shard.tables[database].live(now, place, fastrand::u64(..));
            if let Some(entry) = live {
                seen += 1;
                if fastrand::usize(..seen) == 0 {
                    found = Some(entry.key.to_vec());
                }
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
