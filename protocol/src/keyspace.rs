//! What a host offers to the runtime: its keyspace, and one call's transaction over it.

use std::future::Future;
use std::pin::Pin;

use smallvec::SmallVec;

use crate::resp::Encoder;

/// The data of a host, as far as functions may reach it.
///
/// The embedded store, a loadable module and the tests each implement it once; the runtime is
/// generic over it, so that a host call compiles into direct calls of the host's own code.
pub trait Keyspace: Send + Sync + 'static {
    /// One call's view of the data.
    type Transaction: Transaction;

    /// Begins an optimistic transaction, whose commit may find a conflict.
    ///
    /// `database` is the number that the client selected, which the host has checked. Called at a
    /// call's first data access, so a call that touches no data costs no transaction.
    fn begin(&self, database: u32, mode: Mode) -> Self::Transaction;

    /// Begins a transaction whose commit cannot find a conflict, as soon as that is possible.
    ///
    /// Used after several optimistic tries of one call have conflicted, so that no call starves.
    /// The future must be safe to drop at any time, and to wait for long must not block a thread.
    fn begin_exclusive(
        &self,
        database: u32,
        mode: Mode,
    ) -> impl Future<Output = Self::Transaction> + Send;

    /// Tells what a command would do, for the permission door. `argv[0]` is the command's name.
    fn describe(&self, argv: &[&[u8]]) -> Result<CommandAccess, DescribeError>;

    /// Whether the host has a command of this name, in any case. Permissions are checked with it.
    fn is_command(&self, name: &[u8]) -> bool;

    /// How a guest that has run for a tick gives others a turn, on the host's executor.
    ///
    /// Without one the guest's task wakes itself at once, and is ready again before the executor has
    /// looked at its sockets: tokio, for one, then looks at them only now and then.
    fn yield_now(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }
}

/// One call's consistent view of the data, together with its own writes.
///
/// Writes are collected and take effect together at [`Transaction::commit`]; dropping the
/// transaction discards them. Permissions were decided before these methods are called.
pub trait Transaction: Send {
    /// Proof of a commit. A durable host waits on it before it answers its client.
    type Receipt: Send + 'static;

    /// Milliseconds since 1970, read once a transaction: expiry does not change under a call.
    fn now_millis(&mut self) -> i64;

    /// Shows the string at `key` to `read`; `None` where there is no such key.
    fn get<R>(
        &mut self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError>;

    /// Writes a string over whatever `key` holds; `false` where `condition` kept it from that.
    fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: SetCondition,
        expiry: SetExpiry,
    ) -> Result<bool, StoreError>;

    /// Deletes a key of any type; whether it existed.
    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError>;

    /// Whether a key of any type exists.
    fn exists(&mut self, key: &[u8]) -> Result<bool, StoreError>;

    /// Adds to the integer at `key`, from 0 where there is none; the sum. The expiry stays.
    fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, StoreError>;

    /// Sets the time to live; `false` where there is no such key. At 0 or below the key goes, as
    /// with `PEXPIRE`.
    fn expire(&mut self, key: &[u8], ttl_millis: i64) -> Result<bool, StoreError>;

    /// How long `key` has to live.
    fn ttl(&mut self, key: &[u8]) -> Result<Ttl, StoreError>;

    /// Shows a field of the hash at `key` to `read`; `None` where key or field do not exist.
    fn hash_get<R>(
        &mut self,
        key: &[u8],
        field: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError>;

    /// Writes a field of a hash; whether the field is new.
    fn hash_set(&mut self, key: &[u8], field: &[u8], value: &[u8]) -> Result<bool, StoreError>;

    /// Deletes a field of a hash; whether it existed. The last field takes the key with it.
    fn hash_delete(&mut self, key: &[u8], field: &[u8]) -> Result<bool, StoreError>;

    /// Runs any data command inside the transaction and writes exactly one reply, errors included.
    ///
    /// `visible` tells which keys `KEYS`, `SCAN`, `RANDOMKEY` and their like may show.
    fn call(&mut self, argv: &[&[u8]], visible: &dyn Fn(&[u8]) -> bool, reply: &mut Encoder);

    /// Whether an access has found a conflict, so that the commit can only fail.
    ///
    /// A call whose guest ends in any way after that is run again: what it makes of the error means
    /// nothing. Hosts whose transactions cannot conflict leave this as it is.
    fn is_lost(&self) -> bool {
        false
    }

    /// Makes every write of the transaction visible at once, or none of them.
    fn commit(self) -> Result<Self::Receipt, CommitError>;
}

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Only reads will be asked of it; a host need not prepare for writes.
    Read,
    /// Reads and writes.
    Write,
}

/// When [`Transaction::set`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetCondition {
    /// In any case.
    Always,
    /// Only where the key does not exist (`NX`).
    IfAbsent,
    /// Only where the key exists (`XX`).
    IfPresent,
}

/// What [`Transaction::set`] does to the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetExpiry {
    /// The key will not expire.
    None,
    /// The expiry stays as it is (`KEEPTTL`).
    Keep,
    /// The key expires so many milliseconds after [`Transaction::now_millis`]; at 0 it is gone at
    /// once. Never negative.
    AfterMillis(i64),
}

/// How long a key has to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ttl {
    /// So many milliseconds.
    Millis(i64),
    /// For good.
    NoExpiry,
    /// There is no such key.
    NoKey,
}

/// What a command would do, as the permission door needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandAccess {
    /// Whether the command can write.
    pub write: bool,
    /// Which of its arguments are keys.
    pub keys: KeyAccess,
}

/// Which keys a command touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAccess {
    /// None at all (`TIME`, `ECHO`).
    None,
    /// Those at these positions of `argv`.
    At(SmallVec<[usize; 4]>),
    /// Every key of the database (`KEYS`, `DBSIZE`, `FLUSHDB`).
    All,
    /// It cannot be told; refused to a function whose keys are restricted.
    Unknown,
}

/// Why a command cannot be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescribeError {
    /// The host has no command of this name.
    #[error("unknown command")]
    UnknownCommand,
    /// The command exists and takes another number of arguments.
    #[error("wrong number of arguments")]
    WrongArity,
}

/// Why a data access failed.
///
/// Guests see a status; the text goes to the log, or to the client if the commit failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The key holds another type of value.
    #[error("the key holds another type of value")]
    WrongType,
    /// The value is not a decimal integer of 64 bits.
    #[error("the value is not an integer")]
    NotAnInteger,
    /// The sum does not fit into 64 bits.
    #[error("the increment overflows")]
    Overflow,
    /// A number lies outside what the store can hold, such as an expiry after the end of time.
    #[error("{what} is out of range")]
    OutOfRange {
        /// Which number.
        what: &'static str,
    },
    /// The transaction has collected as much as one call may write.
    #[error("the writes of one call are limited to {limit_bytes} bytes")]
    Full {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// Another transaction changed what this one has read: its commit will find a conflict, and the
    /// call is run again.
    #[error("another call changed the same keys")]
    Conflict,
    /// The store could not do it, for a reason of its own.
    #[error("{0}")]
    Failed(Box<str>),
}

/// Why a transaction was not committed; nothing of it is visible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Another transaction changed what this one read.
    #[error("another call changed the same keys")]
    Conflict,
    /// The store could not take the writes.
    #[error("the store could not take the writes")]
    Store(#[source] StoreError),
}
