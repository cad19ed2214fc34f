//! `MULTI` and `WATCH`: several commands that run as one, with no other command in between.

use ferrite_protocol::keyspace::KeyAccess;
use smallvec::SmallVec;

use crate::api::data_command::DataCommand;
use crate::api::session::Session;
use crate::api::store::{Retry, Store};
use crate::commands::spec::{Command, CommandSpec};
use crate::commands::table;
use crate::error::StoreError;
use crate::execution::core::Core;
use crate::execution::direct::Direct;
use crate::execution::shard_locks::LockedShards;
use crate::execution::view::View as _;
use crate::keyspace::shard::shard_of;
use crate::value::blob::Blob;
use crate::value::hashing::hash;
use ferrite_protocol::resp::ReplyWriter;

/// The queued commands of one client while they run, with every shard they need locked.
///
/// Errors of single commands do not undo the others, as in Redis. It holds locks, so do not await
/// anything before [`Multi::finish`].
pub struct Multi<'s> {
    core: &'s Core,
    /// True if there was no more memory to be had when the unit began.
    memory_is_out: bool,
    direct: Direct<'s>,
    session: &'s mut Session,
}

impl Store {
    /// Records the present versions of keys, for the client's next [`Store::begin_multi`].
    pub fn watch(&self, session: &mut Session, keys: &[&[u8]]) {
        for key in keys {
            session
                .watched
                .entry((session.database, Blob::new(key)))
                .or_insert_with(|| {
                    let mut locked = LockedShards::one(&self.core, shard_of(hash(key)));
                    self.live_version(&mut locked, session.database, key)
                });
        }
    }

    /// Forgets the keys that the client watches.
    pub fn unwatch(&self, session: &mut Session) {
        session.watched.clear();
    }

    /// Returns true if a watched key has changed, so that the client's next `EXEC` would not run.
    pub fn watch_failed(&self, session: &Session) -> bool {
        session.watched.iter().any(|((database, key), version)| {
            let mut locked = LockedShards::one(&self.core, shard_of(hash(key)));
            self.live_version(&mut locked, *database, key) != *version
        })
    }

    fn live_version(&self, locked: &mut LockedShards<'_>, database: u32, key: &[u8]) -> u64 {
        let hash = hash(key);
        let Some(shard) = locked.shard(shard_of(hash)) else {
            return 0;
        };
        let entry = shard.tables[database as usize].get(hash, key);
        entry
            .filter(|entry| !entry.deadline.has_passed(self.core.clock.now_millis()))
            .map_or(0, |entry| entry.version)
    }

    /// Locks the shards that these requests need, checks the watched keys and forgets them.
    ///
    /// Returns `None` if a watched key has changed: nothing may run, and the client gets a null
    /// array.
    ///
    /// # Errors
    /// [`Retry`] if a write has to wait for an exclusive transaction; the keys stay watched.
    pub fn begin_multi<'s>(
        &'s self,
        session: &'s mut Session,
        requests: &[(DataCommand, &[&[u8]])],
    ) -> Result<Option<Multi<'s>>, Retry> {
        if self.core.sink_is_full()
            && requests
                .iter()
                .any(|(command, _)| command.spec().is_write())
        {
            let retry = Retry::new(&self.core);
            // There may have been room before it was registered.
            if self.core.sink_is_full() {
                return Err(retry);
            }
        }
        let mut shards: SmallVec<[usize; 8]> = SmallVec::new();
        let mut written: Vec<&[u8]> = Vec::new();
        let (mut all, mut writes_all) = (false, false);
        for (command, argv) in requests {
            let write = command.spec().is_write();
            match command.keys(argv) {
                Ok(KeyAccess::At(keys)) => {
                    shards.extend(keys.iter().map(|&at| shard_of(hash(argv[at]))));
                    if write {
                        written.extend(keys.iter().map(|&at| argv[at]));
                    }
                }
                Ok(KeyAccess::All | KeyAccess::Listed | KeyAccess::Unknown) => {
                    all = true;
                    writes_all |= write;
                }
                Ok(KeyAccess::None) | Err(_) => {}
            }
        }
        shards.extend(session.watched.keys().map(|(_, key)| shard_of(hash(key))));
        let mut locked = if all {
            LockedShards::all(&self.core)
        } else {
            LockedShards::some(&self.core, shards)
        };
        let unchanged = session.watched.iter().all(|((database, key), version)| {
            self.live_version(&mut locked, *database, key) == *version
        });
        if !unchanged {
            session.watched.clear();
            return Ok(None);
        }
        // `SELECT` may change the database on the way, so a reservation in any database counts.
        let must_wait = locked.any(|shard| {
            shard.reserved.as_ref().is_some_and(|reserved| {
                writes_all || written.iter().any(|key| reserved.covers_anywhere(key))
            })
        });
        if must_wait {
            return Err(Retry::new(&self.core));
        }
        session.watched.clear();
        let direct = Direct::new(&self.core, locked, session.database);
        Ok(Some(Multi {
            core: &self.core,
            memory_is_out: self.core.check_memory().is_err(),
            direct,
            session,
        }))
    }

    /// Returns the error that a command would get at present for what the server lacks: memory, or a disk that
    /// takes writes.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`] or [`StoreError::Unwritable`].
    pub fn check(&self, command: DataCommand) -> Result<(), StoreError> {
        let memory_is_out = self.core.check_memory().is_err();
        check(&self.core, memory_is_out, command.spec())
    }
}

/// Returns the error that a command gets for what the server lacks.
fn check(core: &Core, memory_is_out: bool, spec: &CommandSpec) -> Result<(), StoreError> {
    if spec.is_write() {
        core.check_writable()?;
    }
    if memory_is_out && spec.may_grow() {
        return Err(StoreError::OutOfMemory);
    }
    Ok(())
}

impl Multi<'_> {
    /// Returns the error that a command gets here for what the server lacks, as [`Store::check`] does. What is said of
    /// memory holds until the end, so that a unit of which this was asked does not end half done.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`] or [`StoreError::Unwritable`].
    pub fn check(&self, command: DataCommand) -> Result<(), StoreError> {
        check(self.core, self.memory_is_out, command.spec())
    }

    /// Runs one of the requests given to [`Store::begin_multi`], and writes its one reply.
    pub fn execute(&mut self, argv: &[&[u8]], out: &mut dyn ReplyWriter) {
        self.run(table::checked(argv), argv, out);
    }

    /// Does the same as [`Multi::execute`], for a request whose command the caller has found.
    pub fn execute_command(
        &mut self,
        command: DataCommand,
        argv: &[&[u8]],
        out: &mut dyn ReplyWriter,
    ) {
        self.run(command.checked(argv), argv, out);
    }

    fn run(
        &mut self,
        command: Result<&'static Command, StoreError>,
        argv: &[&[u8]],
        out: &mut dyn ReplyWriter,
    ) {
        let outcome = command.and_then(|command| {
            let spec = command.spec();
            check(self.core, self.memory_is_out, spec)?;
            self.direct.count_reads(!spec.is_write());
            let outcome = command.run_direct(&mut self.direct, argv, out);
            self.direct.name_events(spec.name, argv);
            outcome
        });
        if let Err(error) = outcome {
            out.error(&error.to_string());
        }
    }

    /// Selects another database, as `SELECT` does.
    ///
    /// # Errors
    /// The error that `SELECT` answers if the argument is not the number of a database.
    pub fn select(&mut self, database: &[u8]) -> Result<(), StoreError> {
        let database = crate::commands::keys::database_argument(database)?;
        self.direct.select(database);
        self.session.database = database;
        Ok(())
    }

    /// Commits and releases the locks; the client's receipt then covers these writes.
    pub fn finish(self) {
        if self.direct.has_written() {
            let finished = self.direct.finish();
            self.session.receipt = Some(finished.receipt);
            self.core.serve(finished.ready);
        }
    }
}
