//! Keeps triggers and delivers the events that wait for them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use ferrite_protocol::error_chain::ErrorChain;
use ferrite_protocol::events::EventSink as _;
use ferrite_protocol::keyspace::{CommitError, Keyspace, Mode, Transaction};
use ferrite_protocol::resp::{Encoder, Protocol};

use super::Runtime;
use super::call::BesideData;
use super::guard::Refusal;
use super::outbox::RuntimeSink;
use crate::automation::clock::now_millis;
use crate::automation::figures::{AutomationFigures, ScheduleFigures};
use crate::automation::reply::error_of;
use crate::automation::trigger::definition::{self, Phase, Trigger};
use crate::automation::trigger::event::{self, DEAD_PREFIX, PREFIX, QueuedEvent};
use crate::automation::trigger::queue::{EventQueue, Next, TRIES_MAX, Turn};
use crate::automation::trigger::table::{ActiveTrigger, Triggers};
use crate::call::outer_transaction::OuterTransaction;
use crate::call::request::{CallRequest, OPTIMISTIC_TRIES_MAX, ReceiptOf};
use crate::error::{CallError, Code};
use crate::policy::files::kept::PendingFiles;
use crate::scheduling::moment::Moment;
use crate::scheduling::wait::with_deadline;

/// Longest wait while nothing can be delivered.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Pause of an event that cannot be read or removed at present, or whose trigger is not known yet.
const PAUSE: Duration = Duration::from_secs(1);

/// Records that are read at once.
const BATCH: usize = 256;

/// Changes of records, by name.
pub(super) type RecordChanges = Vec<(Vec<u8>, Option<Vec<u8>>)>;

impl<K: Keyspace> Runtime<K> {
    /// Reads the triggers that were kept, and the events that wait, and lets the host tell of more.
    pub(super) fn load_triggers(&self) {
        let keyspace = self.keyspace();
        if !keyspace.keeps_records() {
            return;
        }
        let triggers = &self.0.triggers;
        self.load_records(definition::PREFIX, |name, value| {
            let loaded = Trigger::parse(value)
                .map_err(|error| error.to_string())
                .and_then(|trigger| {
                    let added = triggers.add(trigger, |_| Ok(()));
                    added.map_err(|error| error.to_string())
                });
            if let Err(error) = loaded {
                let name = name.escape_ascii();
                tracing::error!(error, %name, "a trigger is damaged and left out");
            }
        });
        for prefix in [PREFIX, DEAD_PREFIX] {
            self.load_records(prefix, |name, value| {
                if !triggers.load_event(name, value) {
                    let name = name.escape_ascii();
                    tracing::error!(%name, "an event is damaged and left out");
                }
            });
        }
        keyspace.set_event_sink(Arc::new(RuntimeSink {
            triggers: Arc::clone(triggers),
            outbox: self.0.outbox.clone(),
        }));
        keyspace.send_events(!triggers.list().is_empty());
    }

    /// Passes every record whose name begins with `prefix` to `visit`, when the host starts.
    pub(super) fn load_records(&self, prefix: &[u8], mut visit: impl FnMut(&[u8], &[u8])) {
        let read = self.each_record(prefix, BATCH, |name, value| {
            visit(name, value);
            ControlFlow::Continue(())
        });
        if let Err(error) = read {
            let prefix = prefix.escape_ascii();
            tracing::error!(%error, %prefix, "records cannot be read, and are left out until the next start");
        }
    }

    /// Passes the records whose names begin with `prefix` to `visit`, until that breaks. At most `at_once`
    /// are read at a time, and never more than some hundred.
    ///
    /// # Errors
    ///
    /// They cannot be read at present.
    pub(super) fn each_record(
        &self,
        prefix: &[u8],
        at_once: usize,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), CallError> {
        let at_once = at_once.clamp(1, BATCH);
        let mut after: Box<[u8]> = Box::default();
        loop {
            let records = self.keyspace().records(prefix, &after, at_once);
            let records = records.map_err(|error| CallError::of_store(&error))?;
            let is_last = records.len() < at_once;
            for (name, value) in &records {
                if visit(name, value).is_break() {
                    return Ok(());
                }
            }
            match records.into_iter().next_back() {
                Some((last, _)) if !is_last => after = last,
                _ => return Ok(()),
            }
        }
    }

    /// Changes records in a transaction of their own.
    pub(super) fn change_records(
        &self,
        changes: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<ReceiptOf<K>, CallError> {
        self.change_records_if(&[], changes)
    }

    /// Changes records in a transaction of their own, if those that are `required` are here then.
    ///
    /// # Errors
    ///
    /// One is not, or nothing can be written.
    pub(super) fn change_records_if(
        &self,
        required: &[Vec<u8>],
        changes: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<ReceiptOf<K>, CallError> {
        let failed = |error| CallError::of_store(&error);
        let mut transaction = self.keyspace().begin(0, Mode::Write);
        for name in required {
            transaction.require_record(name).map_err(failed)?;
        }
        for (name, value) in changes {
            transaction
                .change_record(name, value.as_deref())
                .map_err(failed)?;
        }
        transaction
            .commit()
            .map_err(|error| CallError::new(Code::Store, ErrorChain(&error).to_string()))
    }

    /// Returns the triggers.
    pub(crate) fn triggers(&self) -> &Arc<Triggers> {
        &self.0.triggers
    }

    /// Returns the figures of triggers and schedules.
    #[must_use]
    pub fn automation_figures(&self) -> AutomationFigures {
        let triggers = self.0.triggers.list();
        let usage = self.0.triggers.queue.usage();
        let schedules = self.schedules().into_iter();
        AutomationFigures {
            pending_events: usage.pending,
            pending_bytes: usage.bytes,
            triggers: triggers.iter().map(|one| one.figures()).collect(),
            schedules: schedules
                .map(|(schedule, _)| ScheduleFigures {
                    id: schedule.id.as_str().to_owned(),
                    runs: schedule.runs,
                    errors: schedule.errors,
                })
                .collect(),
        }
    }

    /// Adds a trigger. Returns the receipt to wait for.
    ///
    /// # Errors
    ///
    /// There is one of the same name, there are too many, its function is not loaded, a pattern is
    /// wrong, or the host tells no events.
    pub(crate) fn add_trigger(&self, trigger: Trigger) -> Result<ReceiptOf<K>, CallError> {
        if !self.keyspace().keeps_records() {
            return Err(CallError::invalid(
                "this server has no triggers; ferrite-server has",
            ));
        }
        if trigger.phase == Phase::Before && !self.keyspace().asks_before_commits() {
            return Err(CallError::invalid(
                "BEFORE: this server cannot let a function refuse a write, ferrite-server with its own store can; leave the word out, and the function runs after the write",
            ));
        }
        self.check_target(&trigger.function.0)?;
        let receipt = self.0.triggers.add(trigger, |trigger| {
            self.change_records(&[(trigger.record_name(), Some(trigger.to_bytes()))])
        })?;
        self.send_wanted_events();
        Ok(receipt)
    }

    /// Removes a trigger with its events, apart from those that are being delivered. Returns the receipt
    /// to wait for.
    ///
    /// # Errors
    ///
    /// There is none of this name, or nothing can be written.
    pub(crate) fn remove_trigger(&self, name: &[u8]) -> Result<ReceiptOf<K>, CallError> {
        let triggers = &self.0.triggers;
        let trigger = triggers.existing(name)?;
        let receipt = triggers.remove(name, || {
            let mut dead = Vec::new();
            self.each_dead(name, |number, _| dead.push(number))?;
            let numbers = triggers.queue.events_of(name);
            let waiting = numbers
                .iter()
                .map(|&number| event::record_name(PREFIX, number));
            let given_up = dead
                .iter()
                .map(|&number| event::record_name(DEAD_PREFIX, number));
            let changes: RecordChanges = std::iter::once(trigger.trigger.record_name())
                .chain(waiting)
                .chain(given_up)
                .map(|name| (name, None))
                .collect();
            let receipt = self.change_records(&changes)?;
            triggers.forget_dead(&dead);
            triggers.queue.remove_events(name, &numbers);
            Ok(receipt)
        })?;
        self.send_wanted_events();
        self.keyspace().events_drained();
        Ok(receipt)
    }

    /// Passes each event of a trigger that was given up to `visit`, the oldest first.
    ///
    /// # Errors
    ///
    /// They cannot be read at present.
    pub(crate) fn each_dead(
        &self,
        trigger: &[u8],
        mut visit: impl FnMut(u64, QueuedEvent),
    ) -> Result<(), CallError> {
        self.each_record(DEAD_PREFIX, BATCH, |name, value| {
            if let (Some(number), Some(event)) = (
                event::number_of(DEAD_PREFIX, name),
                QueuedEvent::parse(value),
            ) && *event.trigger == *trigger
            {
                visit(number, event);
            }
            ControlFlow::Continue(())
        })
    }

    /// Queues the events of a trigger that were given up again, in their order, behind those that wait.
    /// Returns their number, and the receipt to wait for.
    ///
    /// # Errors
    ///
    /// They cannot be read, one of them was removed meanwhile, or nothing can be written.
    pub(crate) fn retry_dead(&self, trigger: &[u8]) -> Result<(usize, ReceiptOf<K>), CallError> {
        let triggers = &self.0.triggers;
        let mut changes: RecordChanges = Vec::new();
        let (mut dead, mut queued) = (Vec::new(), Vec::new());
        self.each_dead(trigger, |number, mut event| {
            event.error = Box::default();
            // What it triggers now follows from this command, and not from the events before.
            event.depth = 0;
            let (name, value) = triggers.renumbered(&event, number);
            changes.push((event::record_name(DEAD_PREFIX, number), None));
            changes.push((name.to_vec(), Some(value.to_vec())));
            queued.push((name, value));
            dead.push(number);
        })?;
        let names = dead.iter();
        let names: Vec<_> = names
            .map(|&number| event::record_name(DEAD_PREFIX, number))
            .collect();
        let receipt = self.change_records_if(&names, &changes)?;
        triggers.forget_dead(&dead);
        triggers.committed(queued);
        Ok((dead.len(), receipt))
    }

    /// Returns the last `count` events of a trigger that were given up, the oldest first.
    ///
    /// # Errors
    ///
    /// They cannot be read at present.
    pub(crate) fn last_dead(
        &self,
        trigger: &[u8],
        count: usize,
    ) -> Result<VecDeque<QueuedEvent>, CallError> {
        let mut last = VecDeque::new();
        self.each_dead(trigger, |_, event| {
            if last.len() == count {
                last.pop_front();
            }
            last.push_back(event);
        })?;
        Ok(last)
    }

    /// Waits until an event can be delivered. The host delivers it, and asks for the next one meanwhile.
    ///
    /// One task of the host waits at a time.
    pub async fn due_event(&self) -> Delivery<K> {
        let queue = &self.0.triggers.queue;
        loop {
            let planned = queue
                .next_moment()
                .unwrap_or_else(|| Moment::now().after(LONGEST));
            let due = poll_fn(|context| {
                match EventQueue::next(queue, Moment::now(), context.waker()) {
                    Next::Due(turn) => Poll::Ready(Some(turn)),
                    // Earlier than the wait is for.
                    Next::At(at) if at < planned => Poll::Ready(None),
                    Next::At(_) | Next::Never => Poll::Pending,
                }
            });
            let waited = with_deadline(due, planned, None).await;
            if let Ok(Some(turn)) = waited {
                return Delivery {
                    runtime: self.clone(),
                    turn,
                };
            }
        }
    }
}

/// An event that can be delivered. If it is dropped before it was, it is delivered later.
#[must_use = "an event that is due is to be delivered"]
pub struct Delivery<K: Keyspace> {
    runtime: Runtime<K>,
    turn: Turn,
}

impl<K: Keyspace> Delivery<K> {
    /// Returns the database of the event's key.
    #[must_use]
    pub fn database(&self) -> u32 {
        self.turn.lane.database
    }

    /// Calls the function, and removes the event in the same commit as what the function writes. Returns
    /// the receipt of that commit, if there was one.
    ///
    /// If the call fails, nothing of it stays, and the event is tried again after a pause. It is given up
    /// after ten tries.
    pub async fn run(self) -> Option<ReceiptOf<K>> {
        let Self { runtime, turn } = self;
        let triggers = &runtime.0.triggers;
        let name = event::record_name(PREFIX, turn.number);
        let trigger = triggers.get(&turn.lane.trigger);
        let value = match runtime.keyspace().record(&name) {
            Ok(Some(value)) => value,
            Ok(None) => {
                turn.finish();
                return None;
            }
            Err(error) => {
                if let Some(trigger) = trigger {
                    trigger
                        .figures
                        .note_error(&CallError::of_store(&error).to_string());
                }
                turn.pause(PAUSE);
                return None;
            }
        };
        let event = QueuedEvent::parse(&value);
        if trigger.is_none()
            && let Some(event) = &event
            && event.may_precede_its_trigger(now_millis())
            && runtime.keyspace().definitions_may_lag()
        {
            turn.pause(PAUSE);
            return None;
        }
        let wanted = trigger.zip(event);
        let wanted = wanted.filter(|(trigger, event)| trigger.still_wants(event));
        let Some((trigger, event)) = wanted else {
            // Its trigger is gone, or wants other events now, which its function may be allowed to see.
            let removed = runtime.change_records(&[(name, None)]);
            match &removed {
                Ok(_) => turn.finish(),
                Err(_) => turn.pause(PAUSE),
            }
            return removed.ok();
        };
        let delivered = runtime
            .deliver(&trigger.trigger, &event, &turn, &name)
            .await;
        let figures = &trigger.figures;
        let receipt = match delivered {
            Ok(receipt) => {
                figures.delivered.fetch_add(1, Ordering::Relaxed);
                turn.finish();
                Some(receipt)
            }
            Err(error) => {
                figures.note_failure(&error);
                let name_of_trigger = &trigger.trigger.name;
                let key = event.key.escape_ascii().to_string();
                let attempt = turn.attempt;
                tracing::debug!(trigger = %name_of_trigger, event = %event.event, key, attempt, error, "an event was not delivered");
                let given_up = (turn.attempt >= TRIES_MAX)
                    .then(|| runtime.give_up(event, turn.number, name, &error));
                match given_up {
                    Some(Ok(receipt)) => {
                        tracing::warn!(trigger = %name_of_trigger, key, error, "an event was given up");
                        figures.dead.fetch_add(1, Ordering::Relaxed);
                        turn.finish();
                        Some(receipt)
                    }
                    Some(Err(not_kept)) => {
                        runtime.note_not_given_up(&trigger, &key, &error, &not_kept);
                        turn.retry();
                        None
                    }
                    None => {
                        turn.retry();
                        None
                    }
                }
            }
        };
        if triggers.has_room_again() {
            runtime.keyspace().events_drained();
        }
        receipt
    }
}

impl<K: Keyspace> Runtime<K> {
    /// Delivers an event once, or returns the error.
    async fn deliver(
        &self,
        trigger: &Trigger,
        event: &QueuedEvent,
        turn: &Turn,
        record: &[u8],
    ) -> Result<ReceiptOf<K>, String> {
        let (id, attempt) = (turn.number.to_string(), turn.attempt.to_string());
        let at = event.at.to_string();
        let may_read = |type_name: &str| self.may_read(trigger, type_name);
        let args = event.args(
            &trigger.name,
            id.as_bytes(),
            attempt.as_bytes(),
            at.as_bytes(),
            &may_read,
        );
        let keys = [&*event.key];
        let request = CallRequest {
            database: event.database,
            ..CallRequest::new(&trigger.function.0, &keys, &args)
        };
        let keyspace = self.keyspace();
        let mut tries = 0;
        let mut files_turn = None;
        loop {
            if tries == OPTIMISTIC_TRIES_MAX {
                files_turn = self.files_turn(request.name_and_entry().0).await;
            }
            let mut transaction = if tries < OPTIMISTIC_TRIES_MAX {
                keyspace.begin(event.database, Mode::Write)
            } else {
                keyspace.begin_exclusive(event.database, Mode::Write).await
            };
            tries += 1;
            transaction.set_event_depth(event.depth + 1);
            let outer = OuterTransaction::new(transaction);
            let mut reply = Encoder::new(Protocol::Resp3);
            let files = PendingFiles::default();
            let joined = self.call_joined(&request, &outer, BesideData::files(&files), &mut reply);
            let joined = joined.await;
            if outer.is_lost() {
                continue;
            }
            if let Some(error) = error_of(reply.bytes()) {
                let _counted = joined.count(tries);
                return Err(error);
            }
            let guarded = self.guard(&outer).await;
            if outer.is_lost() {
                continue;
            }
            if let Err(Refusal(error)) = guarded {
                let _counted = joined.count(tries);
                return Err(error);
            }
            let Some(mut transaction) = outer.take() else {
                continue;
            };
            let committed = transaction
                .require_record(record)
                .and_then(|()| transaction.change_record(record, None))
                .map_err(CommitError::Store)
                .and_then(|()| files.commit(files_turn.is_some(), || transaction.commit()));
            match committed {
                Ok(receipt) => {
                    let _counted = joined.count(tries);
                    return Ok(receipt);
                }
                Err(CommitError::Conflict) => {}
                Err(CommitError::Store(error)) => {
                    let _counted = joined.count(tries);
                    return Err(format!("STORE {error}"));
                }
            }
        }
    }

    /// Returns true if a trigger's function may get values of this type. Whoever adds a trigger by hand grants
    /// the function its values; a module that declares one grants itself nothing.
    pub(super) fn may_read(&self, trigger: &Trigger, type_name: &str) -> bool {
        // A host that cannot tell a value calls its type unknown.
        if !trigger.declared || type_name == "unknown" {
            return true;
        }
        let function = self.function(definition::function_of(&trigger.function));
        function.is_ok_and(|known| known.record().permissions.may_read_values(type_name))
    }

    /// Tells that an event was to be given up because of `error`, and stays because that could not be kept.
    fn note_not_given_up(
        &self,
        trigger: &ActiveTrigger,
        key: &str,
        error: &str,
        not_kept: &CallError,
    ) {
        let (name, target) = (&trigger.trigger.name, &trigger.trigger.function);
        tracing::warn!(trigger = %name, key, error, %not_kept, "an event could not be given up, and is tried again");
        let text = format!(
            "{}; an event could not be given up, whose last error is: {error}",
            not_kept.text()
        );
        let told = CallError::new(not_kept.code(), text);
        trigger.figures.note_not_given_up(&told.to_string());
        if let Ok(function) = self.function(definition::function_of(target)) {
            function.stats().record_error(&told, None);
        }
    }

    /// Keeps an event among those that were given up.
    fn give_up(
        &self,
        mut event: QueuedEvent,
        number: u64,
        record: Vec<u8>,
        error: &str,
    ) -> Result<ReceiptOf<K>, CallError> {
        event.error = error.into();
        let dead = event::record_name(DEAD_PREFIX, number);
        let required = [record.clone()];
        let mut changes: RecordChanges = vec![(record, None), (dead, Some(event.to_bytes()))];
        let triggers = &self.0.triggers;
        let gone = triggers.oldest_dead();
        let names = gone
            .iter()
            .map(|&number| event::record_name(DEAD_PREFIX, number));
        changes.extend(names.map(|name| (name, None)));
        let receipt = self.change_records_if(&required, &changes)?;
        triggers.forget_dead(&gone);
        triggers.note_dead(number);
        Ok(receipt)
    }
}
