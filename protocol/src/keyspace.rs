//! The traits between the runtime and a host's data: a keyspace, and transactions over it.

use std::future::Future;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::budget::{Budget, Exceeded};
use crate::events::{EventSink, KeyspaceEvent};
use crate::number::parse_integer;
use crate::record::Record;
use crate::resp::Encoder;

/// The data of a host that functions can access.
///
/// The embedded store, a loadable module and the tests each implement it once; the runtime is
/// generic over it, so that a host call compiles into direct calls of the host's own code.
///
/// Clones are the same data. The runtime makes one for each instance, and calls on different
/// threads use different clones at once, so a clone should not share a reference count that
/// [`Keyspace::begin`] writes.
pub trait Keyspace: Clone + Send + Sync + 'static {
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
    /// The future must be safe to drop at any time, and a long wait must not block a thread.
    fn begin_exclusive(
        &self,
        database: u32,
        mode: Mode,
    ) -> impl Future<Output = Self::Transaction> + Send;

    /// Describes the effect of a command, for the permission check. `argv[0]` is the command's
    /// name.
    ///
    /// # Errors
    ///
    /// Fails if the host has no such command, or if it takes another number of arguments. By default
    /// it has no commands: functions use the typed operations alone.
    fn describe(&self, _argv: &[&[u8]]) -> Result<CommandAccess, DescribeError> {
        Err(DescribeError::UnknownCommand)
    }

    /// Returns true if the host has a command of this name, in any case. Permissions that name
    /// commands are checked with it.
    fn is_command(&self, name: &[u8]) -> bool;

    /// Returns true if this host keeps records, which [`Transaction::change_record`] changes. By
    /// default it does not.
    fn keeps_records(&self) -> bool {
        false
    }

    /// Returns at most `count` records whose names begin with `prefix` and come after `after`, in the
    /// order of the bytes of their names. An empty `after` begins at the first.
    ///
    /// Records are data of the host beside that of its clients, as durable as theirs: no command
    /// reaches them. Each begins with the name of the part that uses it and a slash.
    ///
    /// # Errors
    ///
    /// They cannot be read at present.
    fn records(
        &self,
        _prefix: &[u8],
        _after: &[u8],
        _count: usize,
    ) -> Result<Vec<Record>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns the value of a record; `None` if it is not here: it was removed, or another server has it
    /// by now. By default, it is looked for in [`Keyspace::records`].
    ///
    /// # Errors
    ///
    /// It cannot be read at present, so nobody knows if it is there.
    fn record(&self, name: &[u8]) -> Result<Option<Box<[u8]>>, StoreError> {
        let first = self.records(name, b"", 1)?.into_iter().next();
        Ok(first
            .filter(|(found, _)| **found == *name)
            .map(|(_, value)| value))
    }

    /// Returns the part of the data that a key is in, by the number that events have; 0 where the data has
    /// no parts, as is the default.
    fn partition_of(&self, _key: &[u8]) -> u16 {
        0
    }

    /// Tells `sink` of events from now on, while [`Keyspace::send_events`] says so. There is one sink;
    /// later ones are ignored. Returns false if this host tells no events, as is the default.
    fn set_event_sink(&self, _sink: Arc<dyn EventSink>) -> bool {
        false
    }

    /// Starts or stops telling events to the sink. Telling them costs every write a little.
    fn send_events(&self, _send: bool) {}

    /// Wakes the writes that wait while the sink is full.
    fn events_drained(&self) {}

    /// Returns true if this host asks [`Transaction::events`] before each of its commits, so that a trigger
    /// can refuse a write. By default it does not.
    fn asks_before_commits(&self) -> bool {
        false
    }

    /// Returns true if records of triggers and schedules come here from other servers, so that an event can be
    /// here before its trigger. By default they do not.
    fn definitions_may_lag(&self) -> bool {
        false
    }
}

/// One call's consistent view of the data, together with its own writes.
///
/// Writes are collected and take effect together at [`Transaction::commit`]; dropping the
/// transaction discards them. Permissions were decided before these methods are called. Each
/// method that reads or writes data fails with a [`StoreError`].
///
/// A host of plain strings implements `now_millis`, `get`, `set`, `delete` and `commit`. Without
/// their own implementations, expiry and hashes fail with [`StoreError::Failed`].
pub trait Transaction: Send {
    /// Proof of a commit. A durable host waits on it before it answers its client.
    type Receipt: Send + 'static;

    /// Milliseconds since 1970, read once a transaction: expiry does not change during a call.
    fn now_millis(&mut self) -> i64;

    /// Passes the string at `key` to `read`; `None` if there is no such key.
    fn get<R>(
        &mut self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError>;

    /// Writes a string and replaces a value of any type; returns false if `condition` did not hold.
    fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: SetCondition,
        expiry: SetExpiry,
    ) -> Result<bool, StoreError>;

    /// Deletes a key of any type; returns true if it existed.
    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError>;

    /// Returns true if a key of any type exists. By default, it asks [`Transaction::get`], which is
    /// right as long as all values are strings.
    fn exists(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.get(key, |_| ())?.is_some())
    }

    /// Adds to the integer at `key`, which counts as 0 if absent; returns the sum. The expiry stays.
    /// By default, it gets the string and sets another.
    fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, StoreError> {
        let number = self.get(key, parse_integer)?.unwrap_or(Some(0));
        let sum = number
            .ok_or(StoreError::NotAnInteger)?
            .checked_add(delta)
            .ok_or(StoreError::Overflow)?;
        let text = sum.to_string();
        self.set(key, text.as_bytes(), SetCondition::Always, SetExpiry::Keep)?;
        Ok(sum)
    }

    /// Sets the time to live; returns false if there is no such key. At 0 or below the key is
    /// deleted, as with `PEXPIRE`.
    fn expire(&mut self, _key: &[u8], _ttl_millis: i64) -> Result<bool, StoreError> {
        Err(absent("expiry"))
    }

    /// Returns the time to live of `key`.
    fn ttl(&mut self, _key: &[u8]) -> Result<Ttl, StoreError> {
        Err(absent("expiry"))
    }

    /// Passes a field of the hash at `key` to `read`; `None` if key or field do not exist.
    fn hash_get<R>(
        &mut self,
        _key: &[u8],
        _field: &[u8],
        _read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        Err(absent("hashes"))
    }

    /// Writes a field of a hash; returns true if the field is new.
    fn hash_set(&mut self, _key: &[u8], _field: &[u8], _value: &[u8]) -> Result<bool, StoreError> {
        Err(absent("hashes"))
    }

    /// Deletes a field of a hash; returns true if it existed. With the last field, the key is
    /// deleted.
    fn hash_delete(&mut self, _key: &[u8], _field: &[u8]) -> Result<bool, StoreError> {
        Err(absent("hashes"))
    }

    /// Runs any data command inside the transaction and writes exactly one reply, errors included.
    ///
    /// `KEYS` and `SCAN` show only keys for which `visible` returns true. By default every command is
    /// unknown, which agrees with [`Keyspace::describe`].
    ///
    /// The command charges `budget` for its work, its writes and its reply before it does them. Time
    /// and memory may not be more than a constant times the units it has charged, whatever the
    /// arguments and the data are.
    ///
    /// # Errors
    ///
    /// The reason why the command ended before it was through; there is no reply then. If it had
    /// changed anything before, it has told `budget`, and its caller must not commit.
    fn call(
        &mut self,
        _argv: &[&[u8]],
        _visible: &dyn Fn(&[u8]) -> bool,
        _budget: &Budget<'_>,
        reply: &mut Encoder,
    ) -> Result<(), Exceeded> {
        reply.error("ERR unknown command");
        Ok(())
    }

    /// Sets a record of the host, or removes it if there is no value, when this transaction commits.
    ///
    /// A transaction that may only read changes records as well. It does not see its own changes, and
    /// changes of records do not conflict: of two, the later commit counts.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if [`Keyspace::keeps_records`] returns false.
    fn change_record(&mut self, _name: &[u8], _value: Option<&[u8]>) -> Result<(), StoreError> {
        Err(absent("records"))
    }

    /// Lets the commit fail if a record is not here then, so that nothing is put in the place of one that was
    /// removed meanwhile, or that another server has by now. By default it does nothing, for hosts whose
    /// records vanish only by commits of their own.
    ///
    /// # Errors
    ///
    /// The host does not know it at present.
    fn require_record(&mut self, _name: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    /// Takes the lock of the host, if it has one, under which [`Transaction::commit`] runs; the commit, or
    /// the transaction's end, releases it.
    ///
    /// The runtime calls it before it takes a lock of its own and then commits, so that the two locks are
    /// always taken in this order. Hosts without such a lock keep the default.
    fn lock_for_commit(&mut self) {}

    /// Selects another database for what follows, which the host has checked, and returns the one before.
    /// By default there is one database.
    fn switch_database(&mut self, _database: u32) -> u32 {
        0
    }

    /// Sets the depth of the events that this transaction makes; see
    /// [`KeyspaceEvent::depth`](crate::events::KeyspaceEvent::depth).
    fn set_event_depth(&mut self, _depth: u32) {}

    /// Passes the events of this transaction that the sink wants to `visit`, from number `from` on, and
    /// returns how many there are so far. By default there are none.
    fn events(&self, _from: usize, _visit: &mut dyn FnMut(&KeyspaceEvent<'_>)) -> usize {
        0
    }

    /// Returns true if an access has found a conflict, so that the commit can only fail.
    ///
    /// The runtime runs such a call again, however its guest ends: the guest's reply or error means
    /// nothing. Hosts whose transactions cannot conflict keep the default.
    fn is_lost(&self) -> bool {
        false
    }

    /// Tells that the thread does nothing else until the transaction ends, or that the call begins again with
    /// another one if it does. A host whose data only this thread changes meanwhile need not remember what the
    /// call reads. By default nothing follows from it.
    fn set_undivided(&mut self) {}

    /// Marks the present state, to which [`Transaction::roll_back`] returns. An earlier mark is
    /// forgotten. Returns false if this host cannot do that, as is the default: then a call cannot be
    /// a part of a transaction that goes on when the call fails.
    fn set_savepoint(&mut self) -> bool {
        false
    }

    /// Discards what was written since [`Transaction::set_savepoint`], and selects the database of
    /// that time. What was read since still counts for the commit.
    fn roll_back(&mut self) {}

    /// Gives up what an exclusive transaction holds against others, which then need not wait for it.
    ///
    /// Its commit may find a conflict afterwards. The runtime calls it for a call that holds others up
    /// for too long. Hosts that bound that themselves keep the default.
    fn end_exclusive(&mut self) {}

    /// Takes the units of work that operations have done so far beyond what the runtime charges for each:
    /// reads that were checked again, values that were put aside. The runtime charges them before the next
    /// operation. By default there are none.
    fn take_extra_work(&mut self) -> u64 {
        0
    }

    /// Returns the units of work that the commit will take, as [`budget`](crate::budget) counts them: at
    /// most what the writes and reads that it is made of were charged. It is done in one piece, so that the
    /// runtime begins it only if the call's time suffices. Hosts whose commits are always short keep the
    /// default.
    fn commit_work(&self) -> u64 {
        0
    }

    /// Makes every write of the transaction visible at once, or none of them.
    ///
    /// # Errors
    ///
    /// [`CommitError`], and then nothing was written.
    fn commit(self) -> Result<Self::Receipt, CommitError>;
}

/// Error of an operation that the store does not implement.
fn absent(what: &str) -> StoreError {
    StoreError::Failed(format!("this store has no {what}").into())
}

/// Access that a transaction needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Reads only; the host need not prepare for writes.
    Read,
    /// Reads only, each what the data is at its own moment: the reads need not agree with each other,
    /// the host remembers none of them, and neither a read nor the commit meets a conflict. For going
    /// through many keys. A host that cannot do so treats it as [`Mode::Read`].
    ReadLatest,
    /// Reads and writes.
    Write,
}

impl Mode {
    /// Returns true if the transaction may write.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write)
    }
}

/// Condition under which [`Transaction::set`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetCondition {
    /// Always.
    Always,
    /// Only if the key does not exist (`NX`).
    IfAbsent,
    /// Only if the key exists (`XX`).
    IfPresent,
}

/// Change that [`Transaction::set`] makes to the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetExpiry {
    /// The key will not expire.
    None,
    /// The expiry stays as it is (`KEEPTTL`).
    Keep,
    /// The key expires this many milliseconds after [`Transaction::now_millis`], or at once if 0.
    /// Never negative.
    AfterMillis(i64),
}

/// Time to live of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ttl {
    /// The key expires in this many milliseconds.
    Millis(i64),
    /// The key does not expire.
    NoExpiry,
    /// There is no such key.
    NoKey,
}

/// Effect of a command, for the permission check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandAccess {
    /// True if the command can write.
    pub write: bool,
    /// Keys that the command touches.
    pub keys: KeyAccess,
    /// True if it reaches keys of another database too (`MOVE`, `COPY … DB`). A function whose keys are
    /// restricted may not run such a command.
    pub other_database: bool,
    /// True if a function may run the command only if its permissions name it.
    pub named_only: bool,
}

impl CommandAccess {
    /// Creates the description of a command that reaches no other database and need not be named.
    #[must_use]
    pub const fn new(write: bool, keys: KeyAccess) -> Self {
        Self {
            write,
            keys,
            other_database: false,
            named_only: false,
        }
    }
}

/// Keys that a command touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAccess {
    /// No keys (`TIME`, `ECHO`).
    None,
    /// The arguments at these positions of `argv`.
    At(SmallVec<[usize; 4]>),
    /// Every key of the database (`RANDOMKEY`, `DBSIZE`, `FLUSHDB`). A function whose keys are
    /// restricted may not run such a command.
    All,
    /// Names of keys, of which the reply has only those that the function may access (`KEYS`, `SCAN`).
    Listed,
    /// Keys that are known only once the data is read (`SORT … BY`). A function whose keys are
    /// restricted may not run such a command.
    Unknown,
}

/// Reason why a command cannot be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescribeError {
    /// The host has no command of this name.
    #[error("unknown command")]
    UnknownCommand,
    /// The command has no subcommand of this name.
    #[error("unknown subcommand")]
    UnknownSubcommand,
    /// The command takes another number of arguments.
    #[error("wrong number of arguments")]
    WrongArity,
}

/// Reason why a data access failed.
///
/// Guests get a status. The text goes to the log, or to the client if the commit failed.
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
        /// Name of the number.
        what: &'static str,
    },
    /// The transaction has collected as many bytes of writes as one call may.
    #[error("the writes of one call are limited to {limit_bytes} bytes")]
    Full {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The host uses as much memory as it may.
    #[error("the server uses as much memory as maxmemory allows")]
    OutOfMemory,
    /// Another transaction changed data that this one has read. Its commit will find a conflict, and
    /// the call is run again.
    #[error("another call changed the same keys")]
    Conflict,
    /// The host's own access control refuses it to the client's user.
    #[error("NOPERM {0}")]
    Denied(Box<str>),
    /// Any other reason; the store's own text.
    #[error("{0}")]
    Failed(Box<str>),
}

/// Reason why a transaction was not committed. None of its writes is visible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Another transaction changed data that this one has read.
    #[error("another call changed the same keys")]
    Conflict,
    /// The store could not take the writes.
    #[error("the store could not take the writes")]
    Store(#[source] StoreError),
}
