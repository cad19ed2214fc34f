//! Exclusive transactions, for those that keep losing conflicts.
//!
//! At most one runs at a time; the next waits for its turn without blocking a thread. It reserves
//! the keys that it reads: until it ends, no other work changes those keys, so its commit cannot
//! conflict. Reads continue everywhere, as do writes to all other keys. Plain writes to reserved
//! keys wait for the reservation to end, and other transactions that write them conflict. No lock
//! is held between two operations, so the owner may be suspended. A host bounds the time: it ends the
//! reservations of an owner that takes too long, whose commit can then conflict like any other.

use async_lock::MutexGuardArc;
use ferrite_protocol::keyspace::Mode;

use super::Transaction;
use crate::execution::core::CoreRef;

/// The right to reserve keys, and the shards in which it was used.
pub(crate) struct Exclusive {
    core: CoreRef,
    /// A bit for each shard: set if something is reserved there.
    shards: u64,
    turn: Option<MutexGuardArc<()>>,
}

impl Exclusive {
    pub(super) fn note(&mut self, shard: usize) {
        self.shards |= 1 << shard;
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        let mut shards = self.shards;
        while shards != 0 {
            self.core.lock(shards.trailing_zeros() as usize).reserved = None;
            shards &= shards - 1;
        }
        self.turn = None;
        self.core.released.notify(usize::MAX);
        let deferred = std::mem::take(&mut *self.core.deferred.lock());
        self.core.serve(deferred);
    }
}

impl Transaction {
    pub(crate) async fn begin_exclusive(core: CoreRef, database: u32, mode: Mode) -> Self {
        let turn = core.exclusive.lock_arc().await;
        let exclusive = Exclusive {
            core: core.clone(),
            shards: 0,
            turn: Some(turn),
        };
        let mut transaction = Self::new(core, database, mode);
        transaction.exclusive = Some(exclusive);
        transaction
    }
}
