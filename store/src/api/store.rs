//! The store: opening it, plain commands, transactions, and the work that a host must schedule.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use event_listener::EventListener;
use ferrite_protocol::keyspace::{CommandAccess, KeyAccess};
use smallvec::SmallVec;

use crate::api::blocked::Blocked;
use crate::api::session::Session;
use crate::commands::keys::database_argument;
use crate::commands::spec::{BLOCKING, Command, CommandSpec};
use crate::commands::table;
use crate::durable::{CloseError, DiskOptions, DiskStatus, OpenError};
use crate::error::StoreError;
use crate::events::Observer;
use crate::execution::core::{Core, CoreRef};
use crate::execution::direct::Direct;
use crate::execution::shard_locks::LockedShards;
use crate::execution::view::View as _;
use crate::keyspace::shard::{DATABASES, SHARDS, shard_of};
use crate::options::StoreOptions;
use crate::value::blob::Blob;
use crate::value::hashing::hash;
use ferrite_protocol::resp::ReplyWriter;

/// An embedded keyspace. Cheap to clone; all clones are the same store.
///
/// Each clone counts the transactions that began at it. Threads that begin many do best with a
/// clone each.
#[derive(Debug)]
pub struct Store {
    pub(crate) core: CoreRef,
}

impl Clone for Store {
    fn clone(&self) -> Self {
        Self {
            core: self.core.apart(),
        }
    }
}

/// Figures of one database, as `INFO keyspace` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseUsage {
    /// All keys.
    pub keys: usize,
    /// Keys that have a time to live.
    pub expires: usize,
    /// Mean time to live of those keys, in milliseconds; 0 if there are none.
    pub ttl_millis_mean: u64,
}

/// Outcome of a command.
#[derive(Debug)]
#[must_use = "a command that has to wait has not run"]
pub enum Flow {
    /// It ran, and its one reply was written.
    Done,
    /// Nothing happened and nothing was written: wait, then run the same command again.
    Retry(Retry),
    /// A blocking command found nothing; nothing was written. Wait until it is served, it times
    /// out, or the client disconnects.
    Blocked(Blocked),
}

/// Resolves when a command that had to wait should be tried again.
///
/// The command writes to keys that an exclusive transaction has reserved until it ends, or
/// commits arrive faster than the disk takes them.
#[derive(Debug)]
pub struct Retry {
    listener: EventListener,
}

impl Future for Retry {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.listener).poll(context)
    }
}

impl Retry {
    /// Waits for the current exclusive transaction. The caller holds the lock of a shard in which
    /// that transaction has reserved something, so it cannot have ended yet.
    pub(crate) fn new(core: &Core) -> Self {
        Self {
            listener: core.released.listen(),
        }
    }

    /// Blocks this thread until the command should be tried again.
    pub fn wait(self) {
        use event_listener::Listener as _;
        self.listener.wait();
    }
}

impl Store {
    /// Creates a store without a disk; its data ends with the process.
    pub fn in_memory(options: &StoreOptions) -> Self {
        Self {
            core: CoreRef::new(Core::in_memory(options)),
        }
    }

    /// Opens a data directory and reads all of it into memory.
    ///
    /// Dropping the last clone of the store writes and syncs everything;
    /// [`Store::close`] does that earlier.
    ///
    /// # Errors
    /// [`OpenError`] if the directory cannot be used, or its content is damaged.
    pub fn open(options: &StoreOptions, disk: DiskOptions) -> Result<Self, OpenError> {
        Ok(Self {
            core: CoreRef::new(Core::on_disk(options, disk)?),
        })
    }

    /// Writes and syncs everything, and releases the data directory. Blocks until that is done.
    ///
    /// Clones of the store can still read; writes are refused. For a host that stops while other
    /// threads still have a clone. Does nothing for a store in memory.
    ///
    /// # Errors
    /// [`CloseError`] if the disk still fails after `time`, or does nothing for so long. What it has
    /// not taken is lost with the process.
    pub fn close(&self, time: Duration) -> Result<(), CloseError> {
        self.core.close(time)
    }

    /// Returns how the disk is doing; `None` for a store in memory.
    pub fn disk_status(&self) -> Option<DiskStatus> {
        self.core.queue.as_ref().map(|queue| queue.status())
    }

    /// Returns a future for the next time that the disk begins or ceases to fail, or fails for
    /// another cause; `None` for a store in memory.
    pub fn disk_changed(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        self.core
            .queue
            .as_ref()
            .map(|queue| queue.listen_to_health())
    }

    /// All data commands.
    pub fn commands(&self) -> impl Iterator<Item = &'static CommandSpec> + use<> {
        table::specs()
    }

    /// Finds a data command by its name, in upper or lower case.
    pub fn command(&self, name: &[u8]) -> Option<&'static CommandSpec> {
        table::find(name).map(Command::spec)
    }

    /// Returns the keys that a request would touch, and true if it would write.
    ///
    /// # Errors
    /// [`StoreError::UnknownCommand`], [`StoreError::Arity`].
    pub fn access(&self, argv: &[&[u8]]) -> Result<CommandAccess, StoreError> {
        let spec = table::checked(argv)?.spec();
        Ok(CommandAccess {
            other_database: spec.reaches_other_database(argv),
            ..CommandAccess::new(spec.is_write(), spec.access(argv)?)
        })
    }

    /// Runs one data command and writes its one reply, which may be an error.
    pub fn execute(
        &self,
        session: &mut Session,
        argv: &[&[u8]],
        out: &mut dyn ReplyWriter,
    ) -> Flow {
        self.run(table::checked(argv), session, argv, out)
    }

    pub(super) fn run(
        &self,
        command: Result<&'static Command, StoreError>,
        session: &mut Session,
        argv: &[&[u8]],
        out: &mut dyn ReplyWriter,
    ) -> Flow {
        let outcome = command.and_then(|command| self.run_checked(command, session, argv, out));
        outcome.unwrap_or_else(|error| {
            out.error(&error.to_string());
            Flow::Done
        })
    }

    fn run_checked(
        &self,
        command: &Command,
        session: &mut Session,
        argv: &[&[u8]],
        out: &mut dyn ReplyWriter,
    ) -> Result<Flow, StoreError> {
        let spec = command.spec();
        spec.check_memory(&self.core)?;
        if spec.is_write()
            && let Some(queue) = &self.core.queue
        {
            queue.check_writable()?;
            if queue.is_full() {
                let listener = queue.listen();
                // The queue may have shrunk before the listener was registered.
                if queue.is_full() {
                    return Ok(Flow::Retry(Retry { listener }));
                }
            }
        }
        if spec.is_write() && self.core.sink_is_full() {
            let retry = Retry::new(&self.core);
            // There may have been room before it was registered.
            if self.core.sink_is_full() {
                return Ok(Flow::Retry(retry));
            }
        }
        let access = spec.access(argv)?;
        let locked = match &access {
            KeyAccess::At(keys) => match keys[..] {
                [key] => LockedShards::one(&self.core, shard_of(hash(argv[key]))),
                _ => {
                    let shards: SmallVec<_> =
                        keys.iter().map(|&key| shard_of(hash(argv[key]))).collect();
                    LockedShards::some(&self.core, shards)
                }
            },
            KeyAccess::None => LockedShards::some(&self.core, SmallVec::new()),
            KeyAccess::All | KeyAccess::Listed if !spec.is_write() => {
                LockedShards::in_turn(&self.core)
            }
            KeyAccess::All | KeyAccess::Listed | KeyAccess::Unknown => {
                LockedShards::all(&self.core)
            }
        };
        let mut direct = Direct::new(&self.core, locked, session.database);
        direct.count_reads(!spec.is_write());
        if spec.is_write() && direct.anything_reserved() {
            let must_wait = match &access {
                KeyAccess::At(keys) => direct.any_reserved(keys.iter().map(|&key| argv[key])),
                _ => true,
            };
            if must_wait {
                return Ok(Flow::Retry(Retry::new(&self.core)));
            }
        }
        if spec.flags & BLOCKING != 0 {
            direct.allow_blocking();
        }
        let outcome = command.run_direct(&mut direct, argv, out);
        direct.name_events(spec.name, argv);
        let waiter = direct.take_waiter();
        if direct.has_written() {
            let finished = direct.finish();
            session.receipt = Some(finished.receipt);
            self.core.serve(finished.ready);
        }
        outcome?;
        Ok(match waiter {
            Some(waiter) => Flow::Blocked(Blocked::new(self.core.clone(), waiter)),
            None => Flow::Done,
        })
    }

    /// Tells an observer of events from now on, while [`Store::report_events`] says so.
    ///
    /// A store has one observer; later ones are ignored.
    pub fn set_observer(&self, observer: Arc<dyn Observer>) {
        let _ = self.core.observer.set(observer);
    }

    /// Starts or stops recording events. Recording costs every write a little.
    pub fn report_events(&self, report: bool) {
        self.core.observed.store(report, Ordering::Relaxed);
    }

    /// Selects another database for a session, as `SELECT` does.
    ///
    /// # Errors
    /// The error that `SELECT` answers if the argument is not the number of a database.
    pub fn select(&self, session: &mut Session, database: &[u8]) -> Result<(), StoreError> {
        session.database = database_argument(database)?;
        Ok(())
    }

    /// Returns the figures of every database, in order, from counters.
    ///
    /// Expired keys count until they are removed, as in Redis. Commits that run meanwhile may be
    /// counted in part.
    pub fn usage(&self) -> Vec<DatabaseUsage> {
        let now = i128::from(self.core.clock.now_millis());
        let mut sums = [(0, 0, 0_i128); DATABASES];
        for index in 0..SHARDS {
            let shard = self.core.lock(index);
            for (table, (keys, expires, deadline_sum)) in shard.tables.iter().zip(&mut sums) {
                let expiring = table.expiring();
                *keys += table.len();
                *expires += expiring.len;
                *deadline_sum += expiring.deadline_sum;
            }
        }
        sums.into_iter()
            .map(|(keys, expires, deadline_sum)| {
                let mean = deadline_sum.checked_div(expires as i128);
                let ttl = mean.map_or(0, |mean| (mean - now).max(0));
                DatabaseUsage {
                    keys,
                    expires,
                    ttl_millis_mean: u64::try_from(ttl).unwrap_or(u64::MAX),
                }
            })
            .collect()
    }

    /// Removes expired keys and expired fields of hashes until `time` has passed or none are left.
    ///
    /// Expired keys are already invisible; this frees their memory. The work grows with what has
    /// expired, not with what is stored, and each lock is held for at most some dozen microseconds. A
    /// host calls it about ten times a second, and again soon while there is more.
    pub fn expire_cycle(&self, time: Duration) -> ExpireCycle {
        /// Keys that are removed before a lock is released.
        const KEYS_PER_LOCK: usize = 64;
        let started = Instant::now();
        let now = self.core.clock.now_millis();
        let mut cycle = ExpireCycle::default();
        let start = fastrand::usize(..SHARDS);
        for index in (start..SHARDS).chain(0..start) {
            let due: SmallVec<[usize; DATABASES]> = {
                let shard = self.core.lock(index);
                let is_due = |database: &usize| shard.tables[*database].is_due(now);
                (0..DATABASES).filter(is_due).collect()
            };
            let mut passed: Vec<Blob> = Vec::new();
            for database in due {
                loop {
                    passed.clear();
                    let mut locked = LockedShards::one(&self.core, index);
                    if let Some(shard) = locked.shard(index) {
                        shard.tables[database].passed(now, KEYS_PER_LOCK, &mut passed);
                    }
                    if passed.is_empty() {
                        break;
                    }
                    let mut direct = Direct::new(&self.core, locked, database as u32);
                    direct.set_now(now);
                    for key in &passed {
                        // Reading an expired key removes it. Only keys of this shard are read, so
                        // no access is refused.
                        cycle.removed += usize::from(matches!(direct.get(key), Ok(None)));
                    }
                    let progress = direct.has_written();
                    direct.finish();
                    if started.elapsed() >= time {
                        cycle.more = true;
                        return cycle;
                    }
                    // An exclusive transaction relies on the rest.
                    if !progress {
                        break;
                    }
                }
            }
        }
        cycle
    }
}

/// Outcome of [`Store::expire_cycle`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpireCycle {
    /// Keys that were removed.
    pub removed: usize,
    /// True if the time was over before everything that has expired was removed.
    pub more: bool,
}
