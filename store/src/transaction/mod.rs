//! Transactions: a consistent view, writes kept aside, and a commit that is all or nothing.
//!
//! A transaction reads as of one commit, its snapshot, and keeps what it writes to itself. When it
//! meets something newer than its snapshot it checks that all it has read so far still stands, and
//! moves the snapshot forward; if it does not stand, the transaction is lost and says so at once.
//! A commit locks the shards involved, in order, checks once more what others have changed since
//! the snapshot, and applies its writes. So every transaction that commits could have run alone at
//! the moment of its commit, and none ever sees a state that was not.

mod commit;
mod exclusive;
mod read;
mod read_write_set;
pub(crate) mod view;

use std::fmt;

use smallvec::SmallVec;

use ferrite_protocol::keyspace::Mode;

use crate::execution::core::CoreRef;
use exclusive::Exclusive;
use read_write_set::TouchedKeys;

/// One atomic, isolated unit of work. Dropping it rolls it back.
///
/// Operations fail with a conflict as soon as the transaction cannot commit any more; its owner then
/// drops it and runs the whole again.
pub struct Transaction {
    pub(crate) core: CoreRef,
    database: u32,
    pub(crate) mode: Mode,
    /// All that was read stood as it was read at this commit. Drawn with the first read.
    snapshot: Option<u64>,
    now: Option<i64>,
    keys: TouchedKeys,
    /// Databases and shards whose set of keys was read.
    members: SmallVec<[(u32, usize); 4]>,
    /// Bit by database: all keys are removed before what `keys` says is written.
    cleared: u16,
    pub(crate) written_bytes: usize,
    pub(crate) lost: bool,
    exclusive: Option<Exclusive>,
}

impl Transaction {
    pub(crate) fn new(core: CoreRef, database: u32, mode: Mode) -> Self {
        Self {
            core,
            database,
            mode,
            snapshot: None,
            now: None,
            keys: TouchedKeys::default(),
            members: SmallVec::new(),
            cleared: 0,
            written_bytes: 0,
            lost: false,
            exclusive: None,
        }
    }

    /// The instant of this transaction in milliseconds since the Unix epoch; read once.
    pub(crate) fn now(&mut self) -> i64 {
        *self.now.get_or_insert_with(|| self.core.clock.now_millis())
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Transaction")
            .field("database", &self.database)
            .field("mode", &self.mode)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}
