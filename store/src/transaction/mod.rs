//! Transactions: a consistent view, private writes, and a commit that is all or nothing.
//!
//! A transaction reads the state of one commit, its snapshot, and keeps its writes private. When it
//! finds something newer than its snapshot, it checks that all its reads are still valid, and moves
//! the snapshot forward; otherwise the transaction is lost, and the operation fails at once.
//! A commit locks the shards involved, in order, checks again everything that changed since the
//! snapshot, and applies its writes. So every committed transaction could have run alone at the
//! moment of its commit, and none ever sees a state that did not exist.

mod commit;
mod exclusive;
mod listings;
pub(crate) mod overlay;
mod read;
mod read_write_set;
mod savepoint;
pub(crate) mod view;

use std::fmt;

use smallvec::SmallVec;

use ferrite_protocol::keyspace::Mode;

use crate::events::Recorder;
use crate::execution::core::CoreRef;
use crate::keyspace::records::RecordChange;
use exclusive::Exclusive;
use overlay::Overlay;
use read_write_set::TouchedKeys;
use savepoint::Savepoint;

use crate::value::blob::Blob;
use crate::value::hashing::hash;

/// One atomic, isolated unit of work. Dropping it rolls it back.
///
/// Operations fail with a conflict as soon as the transaction can no longer commit; its owner then
/// drops it and runs all of it again.
pub struct Transaction {
    pub(crate) core: CoreRef,
    database: u32,
    pub(crate) mode: Mode,
    /// A commit at which everything read was valid. Set at the first read.
    snapshot: Option<u64>,
    now: Option<i64>,
    keys: TouchedKeys,
    /// Databases and shards whose set of keys was read.
    members: SmallVec<[(u32, usize); 4]>,
    /// A bit for each database: all its keys are removed before the writes of `keys` are applied.
    cleared: u16,
    /// Changes of the host's records, in order.
    pub(crate) records: Vec<RecordChange>,
    /// Records without which the commit fails.
    pub(crate) required_records: Vec<Blob>,
    pub(crate) written_bytes: usize,
    pub(crate) lost: bool,
    /// True while a key is looked up to be read, so that it counts as read.
    reads: bool,
    pub(crate) exclusive: Option<Exclusive>,
    /// Writes since then can be taken back; `None` for most transactions.
    savepoint: Option<Box<Savepoint>>,
    /// Number of savepoints so far.
    savepoints: u32,
    /// Changes and events, told at the commit; `None` while nobody wants to know.
    pub(crate) recorder: Option<Box<Recorder>>,
    /// The depth of the events that this transaction makes.
    pub(crate) event_depth: u32,
    /// Set if the data is another engine's; see [`overlay`].
    pub(crate) overlay: Option<Box<Overlay>>,
}

impl Transaction {
    pub(crate) fn new(core: CoreRef, database: u32, mode: Mode) -> Self {
        let recorder = core.recorder();
        Self {
            recorder,
            core,
            database,
            mode,
            snapshot: None,
            now: None,
            keys: TouchedKeys::default(),
            members: SmallVec::new(),
            cleared: 0,
            records: Vec::new(),
            required_records: Vec::new(),
            written_bytes: 0,
            lost: false,
            reads: false,
            exclusive: None,
            savepoint: None,
            savepoints: 0,
            event_depth: 0,
            overlay: None,
        }
    }

    /// Sets the time of this transaction.
    pub(crate) fn set_now(&mut self, now: i64) {
        self.now = Some(now);
    }

    /// Names the changes so far as events of a command.
    #[inline]
    pub(crate) fn name_events(&mut self, command: &str, argv: &[&[u8]]) {
        if self.recorder.is_none() {
            return;
        }
        let now = self.now();
        // Taken out while the keys are borrowed, and put back afterwards.
        if let Some(mut recorder) = self.recorder.take() {
            recorder.name(command, argv, now);
            recorder.capture(|database, key| {
                let at = self.keys.find(database, hash(key), key)?;
                self.keys[at].value.clone()
            });
            self.recorder = Some(recorder);
        }
    }

    /// The database that commands use.
    pub fn database(&self) -> u32 {
        self.database
    }

    pub(crate) fn set_database(&mut self, database: u32) {
        self.database = database;
    }

    /// The time of this transaction in milliseconds since the Unix epoch; read once.
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
