//! The store and its transactions as the keyspace that functions work on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferrite_protocol::budget::{Budget, Exceeded};
use ferrite_protocol::events::{EventSink, KeyspaceEvent};
use ferrite_protocol::keyspace::{
    self, CommandAccess, CommitError, DescribeError, Keyspace, Mode, SetCondition, SetExpiry,
    StoreError as AccessError, Ttl,
};
use ferrite_protocol::record::Record;
use ferrite_protocol::resp::{BoundedReply, Encoder, ReplyWriter};

use crate::api::store::Store;
use crate::commands::hashes;
use crate::commands::keys::expiry;
use crate::commands::strings::{self, Lifetime, counters};
use crate::commands::table;
use crate::durable::Receipt;
use crate::error::StoreError;
use crate::execution::view::View as _;
use crate::transaction::Transaction;
use crate::transaction::view::TransactionView;
use crate::value::Hash;
use crate::value::deadline::Deadline;
use crate::value::text::Text;

fn all(_: &[u8]) -> bool {
    true
}

impl Keyspace for Store {
    type Transaction = Transaction;

    #[inline]
    fn begin(&self, database: u32, mode: Mode) -> Transaction {
        Transaction::new(self.core.clone(), database, mode)
    }

    /// Waits until no other exclusive transaction is running.
    ///
    /// Until it ends, no other work can change the keys that it has read; all else continues.
    fn begin_exclusive(
        &self,
        database: u32,
        mode: Mode,
    ) -> impl Future<Output = Transaction> + Send {
        Transaction::begin_exclusive(self.core.clone(), database, mode)
    }

    fn describe(&self, argv: &[&[u8]]) -> Result<CommandAccess, DescribeError> {
        self.access(argv).map_err(|error| match error {
            StoreError::Arity(_) => DescribeError::WrongArity,
            _ if has_subcommands(self, argv) => DescribeError::UnknownSubcommand,
            _ => DescribeError::UnknownCommand,
        })
    }

    fn is_command(&self, name: &[u8]) -> bool {
        self.command(name).is_some()
    }

    fn keeps_records(&self) -> bool {
        true
    }

    fn records(
        &self,
        prefix: &[u8],
        after: &[u8],
        count: usize,
    ) -> Result<Vec<Record>, AccessError> {
        Ok(self.records_after(prefix, after, count))
    }

    fn record(&self, name: &[u8]) -> Result<Option<Box<[u8]>>, AccessError> {
        Ok(Self::record(self, name))
    }

    fn set_event_sink(&self, sink: Arc<dyn EventSink>) -> bool {
        let _ = self.core.sink.set(sink);
        true
    }

    fn send_events(&self, send: bool) {
        self.core.captures.store(send, Ordering::Relaxed);
    }

    fn events_drained(&self) {
        self.core.released.notify(usize::MAX);
    }

    fn asks_before_commits(&self) -> bool {
        true
    }
}

/// Returns the fields that a command on a hash works on, if it needs no others.
fn hash_fields<'a>(name: &str, argv: &'a [&'a [u8]]) -> Option<impl Iterator<Item = &'a [u8]>> {
    let (count, step) = match name {
        "hget" | "hexists" | "hstrlen" | "hsetnx" | "hincrby" | "hincrbyfloat" => (1, 1),
        "hmget" | "hdel" => (usize::MAX, 1),
        "hset" | "hmset" => (usize::MAX, 2),
        _ => return None,
    };
    Some(argv.iter().skip(2).step_by(step).take(count).copied())
}

/// Returns true if the request is of a command that has subcommands.
fn has_subcommands(store: &Store, argv: &[&[u8]]) -> bool {
    let spec = argv.first().and_then(|name| store.command(name));
    spec.is_some_and(|spec| !spec.subcommands.is_empty())
}

impl Transaction {
    /// Runs any data command and writes its one reply, which may be an error.
    ///
    /// `KEYS`, `SCAN` and `RANDOMKEY` show only keys for which `visible` returns true. Blocking
    /// commands answer at once, as they do inside `MULTI`.
    pub fn execute(
        &mut self,
        argv: &[&[u8]],
        visible: &dyn Fn(&[u8]) -> bool,
        out: &mut dyn ReplyWriter,
    ) {
        if let Err(error) = self.try_execute(argv, visible, None, out) {
            out.error(&error.to_string());
        }
    }

    fn try_execute(
        &mut self,
        argv: &[&[u8]],
        visible: &dyn Fn(&[u8]) -> bool,
        budget: Option<&Budget<'_>>,
        out: &mut dyn ReplyWriter,
    ) -> Result<(), StoreError> {
        let command = table::checked(argv)?;
        if command.spec().is_write() {
            if !self.mode.writes() {
                return Err(StoreError::ReadOnly);
            }
            command.spec().check_memory(&self.core)?;
            self.written_bytes += argv.iter().map(|argument| argument.len()).sum::<usize>();
        }
        let name = command.spec().name;
        self.uncheck_fields();
        if self.overlay.is_some()
            && let Some(fields) = hash_fields(name, argv)
        {
            self.check_fields(argv[1], fields)?;
        }
        let view = &mut TransactionView::new(self, visible, budget);
        let outcome = command.run_in_transaction(view, argv, out);
        self.name_events(name, argv);
        outcome
    }

    fn view(&mut self) -> TransactionView<'_> {
        TransactionView::new(self, &all, None)
    }
}

/// Every access fails with [`AccessError::Conflict`] once the transaction can no longer commit,
/// and every write fails in a read-only transaction.
impl keyspace::Transaction for Transaction {
    type Receipt = Receipt;

    #[inline]
    fn now_millis(&mut self) -> i64 {
        self.now()
    }

    fn get<R>(
        &mut self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, AccessError> {
        Ok(self
            .view()
            .read::<Text>(key)?
            .map(|text| read(text.as_slice())))
    }

    fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: SetCondition,
        expiry: SetExpiry,
    ) -> Result<bool, AccessError> {
        self.core.check_memory()?;
        if value.len() > self.core.limits.string_bytes_max {
            return Err(StoreError::StringTooLong.into());
        }
        let lifetime = match expiry {
            SetExpiry::None => Lifetime::Until(Deadline::NEVER),
            SetExpiry::Keep => Lifetime::Keep,
            SetExpiry::AfterMillis(millis) => {
                // No expired entry is ever written, so 0 becomes one millisecond.
                let instant = self
                    .now()
                    .checked_add(millis.max(1))
                    .ok_or(StoreError::InvalidExpire("set"))?;
                Lifetime::Until(Deadline::at(instant))
            }
        };
        self.written_bytes += key.len() + value.len();
        let stored = strings::store(&mut self.view(), key, value, condition, lifetime)?;
        let timed = matches!(expiry, SetExpiry::AfterMillis(_));
        self.name_events(if timed { "psetex" } else { "set" }, &[]);
        Ok(stored)
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, AccessError> {
        let removed = self.view().remove(key)?;
        self.name_events("del", &[]);
        Ok(removed)
    }

    fn exists(&mut self, key: &[u8]) -> Result<bool, AccessError> {
        Ok(self.view().exists(key)?)
    }

    fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, AccessError> {
        self.core.check_memory()?;
        self.written_bytes += key.len() + size_of::<i64>();
        let sum = counters::add(&mut self.view(), key, delta)?;
        self.name_events("incrby", &[]);
        Ok(sum)
    }

    fn expire(&mut self, key: &[u8], ttl_millis: i64) -> Result<bool, AccessError> {
        let instant = self
            .now_millis()
            .checked_add(ttl_millis)
            .ok_or(StoreError::InvalidExpire("pexpire"))?;
        let existed = expiry::end_at(&mut self.view(), key, Deadline::at(instant))?;
        self.name_events("pexpire", &[]);
        Ok(existed)
    }

    fn ttl(&mut self, key: &[u8]) -> Result<Ttl, AccessError> {
        let deadline = self.view().deadline(key)?.map(Deadline::millis);
        Ok(match deadline {
            None => Ttl::NoKey,
            Some(None) => Ttl::NoExpiry,
            Some(Some(deadline)) => Ttl::Millis(deadline - self.now()),
        })
    }

    fn hash_get<R>(
        &mut self,
        key: &[u8],
        field: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, AccessError> {
        self.check_fields(key, [field])?;
        let value = self
            .view()
            .read::<Hash>(key)?
            .and_then(|hash| hash.get(field))
            .map(|v| read(v));
        Ok(value)
    }

    fn hash_set(&mut self, key: &[u8], field: &[u8], value: &[u8]) -> Result<bool, AccessError> {
        self.core.check_memory()?;
        self.written_bytes += key.len() + field.len() + value.len();
        self.check_fields(key, [field])?;
        let new = hashes::set_fields(&mut self.view(), key, &[field, value])? == 1;
        self.name_events("hset", &[]);
        Ok(new)
    }

    fn hash_delete(&mut self, key: &[u8], field: &[u8]) -> Result<bool, AccessError> {
        self.check_fields(key, [field])?;
        let existed = hashes::remove_fields(&mut self.view(), key, &[field])? == 1;
        self.name_events("hdel", &[]);
        Ok(existed)
    }

    fn call(
        &mut self,
        argv: &[&[u8]],
        visible: &dyn Fn(&[u8]) -> bool,
        budget: &Budget<'_>,
        reply: &mut Encoder,
    ) -> Result<(), Exceeded> {
        let mut bounded = BoundedReply::new(reply, budget);
        if let Err(error) = self.try_execute(argv, visible, Some(budget), &mut bounded) {
            bounded.error(&error.to_string());
        }
        bounded.finish()
    }

    fn change_record(&mut self, name: &[u8], value: Option<&[u8]>) -> Result<(), AccessError> {
        Self::change_record(self, name, value);
        Ok(())
    }

    fn require_record(&mut self, name: &[u8]) -> Result<(), AccessError> {
        Self::require_record(self, name);
        Ok(())
    }

    fn switch_database(&mut self, database: u32) -> u32 {
        let before = self.database();
        self.set_database(database);
        before
    }

    fn set_event_depth(&mut self, depth: u32) {
        self.event_depth = depth;
    }

    fn events(&self, from: usize, visit: &mut dyn FnMut(&KeyspaceEvent<'_>)) -> usize {
        let recorder = self.recorder.as_ref();
        recorder.map_or(0, |recorder| {
            recorder.each_captured(from, self.event_depth, visit)
        })
    }

    fn set_savepoint(&mut self) -> bool {
        self.mark();
        true
    }

    fn roll_back(&mut self) {
        self.take_back();
    }

    #[inline]
    fn is_lost(&self) -> bool {
        self.lost
    }

    fn end_exclusive(&mut self) {
        self.exclusive = None;
    }

    fn commit_work(&self) -> u64 {
        self.work_to_commit()
    }

    /// A transaction that wrote nothing, or that is exclusive, never conflicts.
    #[inline]
    fn commit(self) -> Result<Receipt, CommitError> {
        self.into_committed()
    }
}
