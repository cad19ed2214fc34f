//! A call's access to the data: through the access policy, then into the transaction.

use std::sync::Arc;

use ferrite_wasm_abi::Status;

use crate::call::outer_transaction::{CallTransaction, OuterTransaction};
use crate::call::restricted_scan;
use crate::error::Quoted;
use crate::policy::function_spec::FunctionSpec;
use crate::policy::permissions::{Access, Denied, Rule};
use ferrite_protocol::budget::{Budget, Exceeded};
use ferrite_protocol::keyspace::{
    DescribeError, KeyAccess, Keyspace, Mode, StoreError, Transaction,
};
use ferrite_protocol::resp::Encoder;

/// Longest key that a function may name, in bytes; a longer one gets the status `LIMIT`.
///
/// A key is hashed, matched against permissions and kept for the commit without a pause; the bound
/// limits each of these to some tens of microseconds.
pub(crate) const KEY_BYTES_MAX: usize = 64 << 10;

/// A call's access to the data.
///
/// The transaction begins at the first access, so that a call without data access has none.
#[derive(Debug)]
pub(crate) struct DataAccess<K: Keyspace> {
    /// A clone of its own, so that calls on other threads count their transactions in other clones.
    keyspace: K,
    spec: Arc<FunctionSpec>,
    database: u32,
    mode: Mode,
    transaction: CallTransaction<K::Transaction>,
    /// True if the thread does nothing else until the transaction ends, or the call begins again.
    undivided: bool,
    written_bytes: u64,
    denied: Option<Denied>,
}

/// Reason why a command was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommandRefused {
    /// The guest gets this status.
    Status(Status),
    /// The guest gets an error reply, as from the host itself.
    NoCommand(DescribeError),
}

impl<K: Keyspace> DataAccess<K> {
    /// Creates the access to `keyspace` for calls of one function.
    pub(crate) fn new(keyspace: K, spec: Arc<FunctionSpec>) -> Self {
        Self {
            keyspace,
            spec,
            database: 0,
            mode: Mode::Read,
            transaction: CallTransaction::none(),
            undivided: false,
            written_bytes: 0,
            denied: None,
        }
    }

    /// Prepares for a call. Begins no transaction.
    pub(crate) fn begin(&mut self, database: u32, mode: Mode) {
        self.database = database;
        self.mode = if mode.writes() && !self.spec.access_policy.may_write() {
            Mode::Read
        } else {
            mode
        };
        self.transaction.end();
        self.undivided = false;
        self.written_bytes = 0;
        self.denied = None;
    }

    /// Says if the thread does nothing else until the transaction ends, or the call begins again.
    pub(crate) fn set_undivided(&mut self, undivided: bool) {
        self.undivided = undivided;
    }

    /// Sets the call's transaction to one that was begun elsewhere.
    pub(crate) fn set_transaction(&mut self, transaction: K::Transaction) {
        self.transaction.set(transaction);
    }

    /// Makes the call take part in a transaction of the host. What an earlier try of the call wrote
    /// is rolled back.
    pub(crate) fn join(&mut self, outer: &OuterTransaction<K::Transaction>) {
        outer.with(Transaction::roll_back);
        self.transaction.join(outer);
    }

    /// Returns the database and mode of this call's transaction.
    #[must_use]
    pub(crate) fn transaction_params(&self) -> (u32, Mode) {
        (self.database, self.mode)
    }

    /// Takes the call's own transaction, if one was begun, to commit it. Gives back one of the host's
    /// that the call took part in.
    pub(crate) fn take_transaction(&mut self) -> Option<K::Transaction> {
        self.transaction.take_own()
    }

    /// Rolls back the call's own transaction, and gives back one of the host's.
    pub(crate) fn end(&mut self) {
        self.transaction.end();
    }

    /// Returns true if the transaction has met a conflict, so that the call cannot commit.
    #[must_use]
    pub(crate) fn is_lost(&self) -> bool {
        self.transaction.get().is_some_and(Transaction::is_lost)
    }

    /// Takes the units of work that operations have done beyond what was charged for them.
    #[inline]
    pub(crate) fn take_extra_work(&mut self) -> u64 {
        let transaction = self.transaction.get_mut();
        transaction.map_or(0, Transaction::take_extra_work)
    }

    /// Returns the units of work of committing what the call wrote.
    pub(crate) fn commit_work(&self) -> u64 {
        self.transaction.get().map_or(0, Transaction::commit_work)
    }

    /// Lets others change what the transaction holds for itself, if it is exclusive.
    pub(crate) fn end_exclusive(&mut self) {
        if let Some(transaction) = self.transaction.get_mut() {
            transaction.end_exclusive();
        }
    }

    /// Takes the last access that the policy refused in this call.
    pub(crate) fn take_denied(&mut self) -> Option<Denied> {
        self.denied.take()
    }

    /// Checks an access to one key, without beginning the transaction.
    pub(crate) fn check(&mut self, key: &[u8], access: Access) -> Result<(), Status> {
        if key.len() > KEY_BYTES_MAX {
            return Err(Status::Limit);
        }
        if access.writes() && !self.mode.writes() {
            let command = access.commands().first().copied().unwrap_or_default();
            return Err(self.refuse_write(command.as_bytes()));
        }
        match self.spec.access_policy.check_key(key, access) {
            Ok(()) => Ok(()),
            Err(denied) => Err(self.refuse(denied)),
        }
    }

    /// Checks an access to one key and returns the transaction.
    pub(crate) fn open(
        &mut self,
        key: &[u8],
        access: Access,
    ) -> Result<&mut K::Transaction, Status> {
        self.check(key, access)?;
        Ok(self.transaction())
    }

    /// Runs a command within a budget, and writes its reply. Returns the guest's status if the
    /// command is not allowed.
    ///
    /// # Errors
    ///
    /// The reason why the command ended before it was through.
    pub(crate) fn run_command(
        &mut self,
        argv: &[&[u8]],
        budget: &Budget<'_>,
        reply: &mut Encoder,
    ) -> Result<Result<(), Status>, Exceeded> {
        let declared_bytes = match self.open_command(argv) {
            Ok(bytes) => bytes,
            Err(CommandRefused::Status(status)) => return Ok(Err(status)),
            Err(CommandRefused::NoCommand(reason)) => {
                refuse(reply, argv, reason);
                return Ok(Ok(()));
            }
        };
        let Self {
            keyspace,
            spec,
            database,
            mode,
            transaction,
            undivided,
            ..
        } = self;
        let transaction =
            transaction.get_or_begin(|| begun(keyspace, *database, *mode, *undivided));
        let policy = &spec.access_policy;
        let visible = |key: &[u8]| policy.visible(key);
        let ran = if policy.restricts_keys() && restricted_scan::is_scan(argv) {
            restricted_scan::answer(transaction, argv, &visible, budget, reply)
        } else {
            transaction.call(argv, &visible, budget, reply)
        };
        // What the command wrote beyond its arguments, which were counted before.
        let more = budget.written().saturating_sub(declared_bytes);
        self.written_bytes = self.written_bytes.saturating_add(more);
        ran.map(Ok)
    }

    /// Returns the bytes that the call may still write.
    pub(crate) fn writes_left(&self) -> u64 {
        self.spec
            .limits
            .writes_bytes_max
            .saturating_sub(self.written_bytes)
    }

    /// Checks a command, and counts the bytes of its arguments if it writes; returns their number.
    fn open_command(&mut self, argv: &[&[u8]]) -> Result<u64, CommandRefused> {
        let access = self
            .keyspace
            .describe(argv)
            .map_err(CommandRefused::NoCommand)?;
        if access.write && !self.mode.writes() {
            let command = argv.first().copied().unwrap_or_default();
            return Err(CommandRefused::Status(self.refuse_write(command)));
        }
        if let KeyAccess::At(positions) = &access.keys {
            let key = |&at: &usize| argv.get(at).copied().unwrap_or_default();
            if positions
                .iter()
                .map(key)
                .any(|key| key.len() > KEY_BYTES_MAX)
            {
                return Err(CommandRefused::Status(Status::Limit));
            }
        }
        let name = argv.first().copied().unwrap_or_default();
        if let Err(denied) = self.spec.access_policy.check_command(name, &access, argv) {
            return Err(CommandRefused::Status(self.refuse(denied)));
        }
        if !access.write {
            return Ok(0);
        }
        let bytes = argv.iter().map(|part| part.len() as u64).sum();
        self.write_bytes(bytes).map_err(CommandRefused::Status)?;
        Ok(bytes)
    }

    /// Counts bytes that the call is about to write.
    pub(crate) fn write_bytes(&mut self, bytes: u64) -> Result<(), Status> {
        let sum = self.written_bytes.saturating_add(bytes);
        if sum > self.spec.limits.writes_bytes_max {
            return Err(Status::Limit);
        }
        self.written_bytes = sum;
        Ok(())
    }

    /// Returns the part of the data that a key is in.
    pub(crate) fn partition_of(&self, key: &[u8]) -> u16 {
        self.keyspace.partition_of(key)
    }

    /// Keeps a record of the host with what the call commits.
    pub(crate) fn keep_record(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        self.write_bytes((name.len() + value.len()) as u64)?;
        self.transaction()
            .change_record(name, Some(value))
            .map_err(|error| status_of(&error))
    }

    /// Returns the transaction's time, in milliseconds since 1970.
    pub(crate) fn now_millis(&mut self) -> i64 {
        self.transaction().now_millis()
    }

    /// Returns the transaction; begins it if necessary. The caller has checked the access.
    pub(crate) fn transaction(&mut self) -> &mut K::Transaction {
        let Self {
            keyspace,
            database,
            mode,
            transaction,
            undivided,
            ..
        } = self;
        transaction.get_or_begin(|| begun(keyspace, *database, *mode, *undivided))
    }

    /// Refuses a write of a call that may only read.
    #[cold]
    fn refuse_write(&mut self, command: &[u8]) -> Status {
        let rule = if self.spec.access_policy.may_write() {
            Rule::ReadOnlyCall
        } else {
            Rule::Write
        };
        self.refuse(Denied::new(command, rule))
    }

    /// Logs and keeps a refusal, which the call's outcome reports.
    #[cold]
    pub(crate) fn refuse(&mut self, denied: Denied) -> Status {
        tracing::debug!(function = %self.spec.name, %denied, "access denied");
        let status = if denied.is_read_only() {
            Status::ReadOnly
        } else {
            Status::Denied
        };
        self.denied = Some(denied);
        status
    }
}

/// Begins a call's own transaction.
#[inline]
fn begun<K: Keyspace>(keyspace: &K, database: u32, mode: Mode, undivided: bool) -> K::Transaction {
    let mut transaction = keyspace.begin(database, mode);
    if undivided {
        transaction.set_undivided();
    }
    transaction
}

/// Writes the error reply of the host's own front end for a command that it refuses.
fn refuse(reply: &mut Encoder, argv: &[&[u8]], reason: DescribeError) {
    let word = |index: usize| argv.get(index).copied().unwrap_or_default();
    let name = Quoted(word(0));
    match reason {
        DescribeError::UnknownCommand => {
            reply.error_display(&format_args!("ERR unknown command {name}"));
        }
        DescribeError::UnknownSubcommand => {
            reply.error_display(&format_args!(
                "ERR unknown subcommand '{:.128}'. Try {} HELP.",
                String::from_utf8_lossy(word(1)),
                String::from_utf8_lossy(&word(0).to_ascii_uppercase()),
            ));
        }
        DescribeError::WrongArity => {
            reply.error_display(&format_args!(
                "ERR wrong number of arguments for {name} command"
            ));
        }
    }
}

/// Returns the status that a guest sees for an error of the store.
#[cold]
pub(crate) fn status_of(error: &StoreError) -> Status {
    match error {
        StoreError::WrongType => Status::WrongType,
        StoreError::NotAnInteger | StoreError::Overflow | StoreError::OutOfRange { .. } => {
            Status::Invalid
        }
        StoreError::Full { .. } => Status::Limit,
        StoreError::Denied(reason) => {
            tracing::debug!(%reason, "access denied");
            Status::Denied
        }
        // The commit will fail, so the guest's further actions are discarded.
        StoreError::Conflict | StoreError::OutOfMemory => Status::Store,
        StoreError::Failed(reason) => {
            tracing::error!(%reason, "the store failed under a function");
            Status::Store
        }
    }
}
