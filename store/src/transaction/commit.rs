//! Commit: checks the reads and applies the writes, all under the locks of the shards involved.

use ferrite_protocol::budget::{ACCESS, elements};
use ferrite_protocol::keyspace::CommitError;
use smallvec::SmallVec;

use super::Transaction;
use super::read::stands;
use crate::durable::Receipt;
use crate::error::StoreError;
use crate::execution::direct::{Direct, Finished};
use crate::execution::shard_locks::LockedShards;
use crate::keyspace::shard::{DATABASES, SHARDS, Shard, shard_of};
use crate::transaction::read_write_set::{Seen, Touched, Write};

impl Transaction {
    /// Makes all writes visible together, or none.
    pub(crate) fn into_committed(mut self) -> Result<Receipt, CommitError> {
        // The host of an overlay commits it elsewhere.
        if self.lost || self.overlay.is_some() {
            return Err(CommitError::Conflict);
        }
        let writes_keys = self.cleared != 0 || self.keys.iter().any(Touched::is_written);
        if !writes_keys && self.records.is_empty() && self.required_records.is_empty() {
            // All reads were valid together at the snapshot, so the transaction counts as run then.
            return Ok(Receipt::immediate());
        }
        let core = self.core.clone();
        core.check_writable().map_err(refused)?;
        let captured = self
            .recorder
            .as_ref()
            .is_some_and(|recorder| recorder.has_captured());
        if captured && self.event_depth == 0 && core.sink_is_full() {
            return Err(refused(StoreError::Refused(
                "BUSY the queue of triggers is full; try again later",
            )));
        }
        let mut locked = if self.cleared == 0 {
            let mut shards: SmallVec<[usize; 8]> = self
                .keys
                .iter()
                .map(|touched| shard_of(touched.hash))
                .collect();
            shards.extend(self.members.iter().map(|&(_, shard)| shard));
            LockedShards::some(&core, shards)
        } else {
            LockedShards::all(&core)
        };
        if !self.still_stands(&mut locked) {
            return Err(CommitError::Conflict);
        }
        let finished = self.apply(Direct::new(&core, locked, 0)).map_err(refused)?;
        // Released before blocked clients are served: they may need the same keys.
        self.exclusive = None;
        core.serve(finished.ready);
        Ok(finished.receipt)
    }

    /// Units of the commit: each key is found, compared and put, and each change of a collection is handed
    /// to the disk. Values are moved, not copied.
    pub(crate) fn work_to_commit(&self) -> u64 {
        let keys = self.keys.len() as u64;
        let edits = self.keys.iter().map(|touched| match &touched.write {
            Write::Edited(effects) => elements(effects.len()),
            Write::Nothing | Write::Whole => 0,
        });
        edits.fold(ACCESS.saturating_mul(keys), u64::saturating_add)
    }

    fn still_stands(&self, locked: &mut LockedShards<'_>) -> bool {
        let snapshot = self.snapshot.unwrap_or(0);
        let others_may_write = |shard: &Shard, database, key: &[u8]| {
            self.exclusive.is_some() || !shard.is_reserved(database, key)
        };
        if self.cleared != 0 && self.exclusive.is_none() {
            let free = (0..SHARDS).all(|index| {
                locked
                    .shard(index)
                    .is_some_and(|shard| shard.reserved.is_none())
            });
            if !free {
                return false;
            }
        }
        for touched in self.keys.iter() {
            let Some(shard) = locked.shard(shard_of(touched.hash)) else {
                return false;
            };
            if touched.is_written() && !others_may_write(shard, touched.database, &touched.key) {
                return false;
            }
            if touched.seen != Seen::Nothing
                && shard.modified_at > snapshot
                && !stands(shard, touched, self.now)
            {
                return false;
            }
        }
        self.members.iter().all(|&(database, index)| {
            locked
                .shard(index)
                .is_some_and(|shard| shard.membership_at[database as usize] <= snapshot)
        })
    }

    fn apply(&mut self, mut direct: Direct<'_>) -> Result<Finished, StoreError> {
        use crate::execution::view::View as _;

        direct.require_records(&self.required_records)?;
        direct.set_now(self.now());
        for database in (0..DATABASES as u32).filter(|&database| self.is_cleared(database)) {
            direct.clear(Some(database))?;
        }
        for touched in self.keys.drain() {
            direct.select(touched.database);
            match (touched.write, touched.value) {
                (Write::Nothing, _) => {}
                (Write::Whole, Some(value)) => {
                    direct.put(&touched.key, value, touched.deadline)?;
                }
                (Write::Whole | Write::Edited(_), None) => {
                    direct.remove(&touched.key)?;
                }
                (Write::Edited(effects), Some(value)) => {
                    direct.replace(&touched.key, value, touched.deadline, effects)?;
                }
            }
        }
        direct.tell_instead(self.recorder.take());
        direct.set_event_depth(self.event_depth);
        direct.change_records(std::mem::take(&mut self.records));
        Ok(direct.finish())
    }
}

#[cold]
fn refused(error: StoreError) -> CommitError {
    CommitError::Store(error.into())
}
