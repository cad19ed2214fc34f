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
mod touched;
mod typed;
pub(crate) mod within;

use smallvec::SmallVec;

pub use commit::CommitError;
pub use typed::{SetCondition, SetExpiry, Ttl};

use crate::commands::table;
use crate::core::CoreRef;
use crate::error::StoreError;
use crate::reply::ReplyWriter;
use exclusive::Exclusive;
use touched::TouchedKeys;
use within::Within;

/// Whether a transaction may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every write is refused with [`StoreError::ReadOnly`]; its commit cannot conflict.
    Read,
    /// Reads and writes.
    Write,
}

/// One atomic, isolated unit of work. Dropping it rolls it back.
///
/// Operations return [`StoreError::Conflict`] as soon as the transaction cannot commit any more;
/// its owner drops it and runs the whole again.
pub struct Transaction {
    core: CoreRef,
    database: u32,
    mode: Mode,
    /// All that was read stood as it was read at this commit. Drawn with the first read.
    snapshot: Option<u64>,
    now: Option<i64>,
    keys: TouchedKeys,
    /// Databases and shards whose set of keys was looked at.
    members: SmallVec<[(u32, usize); 4]>,
    /// Bit by database: all keys are removed before what `keys` says is written.
    cleared: u16,
    written_bytes: usize,
    lost: bool,
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
    pub fn now_millis(&mut self) -> i64 {
        *self.now.get_or_insert_with(|| self.core.clock.now_millis())
    }

    /// Runs any data command and writes its one reply, which may be an error.
    ///
    /// `visible` tells which keys `KEYS`, `SCAN` and `RANDOMKEY` may show. Commands that would
    /// block answer at once, as they do inside `MULTI`.
    pub fn execute(
        &mut self,
        argv: &[&[u8]],
        visible: &dyn Fn(&[u8]) -> bool,
        out: &mut dyn ReplyWriter,
    ) {
        if let Err(error) = self.try_execute(argv, visible, out) {
            out.error(&error.to_string());
        }
    }

    fn try_execute(
        &mut self,
        argv: &[&[u8]],
        visible: &dyn Fn(&[u8]) -> bool,
        out: &mut dyn ReplyWriter,
    ) -> Result<(), StoreError> {
        let command = table::checked(argv)?;
        if command.spec().is_write() {
            if self.mode == Mode::Read {
                return Err(StoreError::ReadOnly);
            }
            self.written_bytes += argv.iter().map(|argument| argument.len()).sum::<usize>();
        }
        command.run_within(&mut Within::new(self, visible), argv, out)
    }

    /// Whether an operation has answered [`StoreError::Conflict`], so that the commit will too.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// About how many bytes this transaction has asked to write so far.
    pub fn written_bytes(&self) -> usize {
        self.written_bytes
    }
}
