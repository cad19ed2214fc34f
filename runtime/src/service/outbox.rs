//! Sends the requests that calls have committed, and keeps those that were given up.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use ferrite_protocol::events::{EventSink, KeyspaceEvent};
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::record::Record;

use super::Runtime;
use crate::automation::figures::OutboxFigures;
use crate::automation::number::partition_of;
use crate::automation::outbox::message::{
    DEAD_PREFIX, OutboxMessage, PREFIX, number_of, record_name,
};
use crate::automation::outbox::queue::{BACK_OFF_MAX, Next, RequestQueue, Turn, pause_after};
use crate::automation::outbox::table::Outbox;
use crate::automation::trigger::table::Triggers;
use crate::call::request::ReceiptOf;
use crate::error::CallError;
use crate::policy::network::message::Response;
use crate::scheduling::moment::Moment;
use crate::scheduling::wait::with_deadline;

/// Longest wait while nothing can be sent.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Pause of a request whose record cannot be read or changed at present.
const DATA_PAUSE: Duration = Duration::from_secs(1);

/// Takes events for triggers, and requests for the outbox.
pub(super) struct RuntimeSink {
    pub(super) triggers: Arc<Triggers>,
    pub(super) outbox: Option<Arc<Outbox>>,
}

impl EventSink for RuntimeSink {
    fn wants(&self, database: u32, key: &[u8]) -> bool {
        self.triggers.wants(database, key)
    }

    fn record(&self, event: &KeyspaceEvent<'_>, into: &mut Vec<Record>) {
        self.triggers.record(event, into);
    }

    fn committed(&self, records: Vec<Record>) {
        self.triggers.committed(records);
    }

    fn record_set(&self, name: &[u8], value: &[u8]) {
        if let Some(outbox) = &self.outbox {
            outbox.record_set(name, value);
        }
    }

    fn is_full(&self) -> bool {
        self.triggers.is_full()
    }

    fn take_in(&self, records: Vec<Record>) {
        let (requests, events): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|(name, _)| name.starts_with(PREFIX) || name.starts_with(DEAD_PREFIX));
        for (name, value) in requests {
            if let Some(outbox) = &self.outbox
                && !outbox.load(&name, &value)
            {
                note_damage(&name);
            }
        }
        if !events.is_empty() {
            self.triggers.take_in(events);
        }
    }

    fn forget(&self, names: &[Box<[u8]>]) {
        self.triggers.forget(names);
        if let Some(outbox) = &self.outbox {
            outbox.forget_records(names.iter().map(|name| &**name));
        }
    }

    fn refuse(&self, event: &KeyspaceEvent<'_>, reason: &str) {
        self.triggers.refuse(event, reason);
    }

    fn lose(&self, record: &Record, reason: &str) {
        self.triggers.lose(record, reason);
    }

    fn full_reason(&self) -> String {
        self.triggers.full_reason()
    }
}

fn note_damage(name: &[u8]) {
    let name = name.escape_ascii();
    tracing::error!(%name, "a request of the outbox is damaged and left out");
}

/// A request as `WASM.OUTBOX LIST` shows it.
pub(crate) struct ListedRequest {
    pub(crate) number: u64,
    pub(crate) message: OutboxMessage,
}

impl<K: Keyspace> Runtime<K> {
    /// Reads the requests that wait to be sent, and those that were given up.
    pub(super) fn load_outbox(&self) {
        let Some(outbox) = &self.0.outbox else {
            return;
        };
        for prefix in [PREFIX, DEAD_PREFIX] {
            self.load_records(prefix, |name, value| {
                if !outbox.load(name, value) {
                    note_damage(name);
                }
            });
        }
    }

    /// Returns the figures of the outbox; `None` if this host has none.
    #[must_use]
    pub fn outbox_figures(&self) -> Option<OutboxFigures> {
        self.0.outbox.as_ref().map(|outbox| outbox.figures())
    }

    /// Returns the outbox.
    ///
    /// # Errors
    ///
    /// This host has none.
    pub(crate) fn outbox(&self) -> Result<&Arc<Outbox>, CallError> {
        self.0.outbox.as_ref().ok_or_else(|| {
            CallError::invalid(
                "this server has no outbox, because it keeps no data of its own; ferrite-server with its own data has one, and Valkey and Redis with the module",
            )
        })
    }

    /// Forgets the requests that wait here, because this server does not send them any more.
    pub fn forget_requests(&self) {
        if let Some(outbox) = &self.0.outbox {
            outbox.forget();
        }
    }

    /// Returns at most `count` requests with records of this prefix for which `wanted` returns true, the
    /// oldest first. Reads no further than it must.
    ///
    /// # Errors
    ///
    /// They cannot be read at present.
    pub(crate) fn outbox_requests(
        &self,
        prefix: &[u8],
        count: usize,
        wanted: impl Fn(&OutboxMessage) -> bool,
    ) -> Result<Vec<ListedRequest>, CallError> {
        let mut found = Vec::new();
        self.each_record(prefix, count, |name, value| {
            if let (Some(number), Some(message)) =
                (number_of(prefix, name), OutboxMessage::parse(value))
                && wanted(&message)
            {
                found.push(ListedRequest { number, message });
            }
            if found.len() < count {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok(found)
    }

    /// Returns the request of this number that was given up; `None` if there is none here.
    ///
    /// # Errors
    ///
    /// It cannot be read at present.
    pub(crate) fn given_up_request(&self, number: u64) -> Result<Option<ListedRequest>, CallError> {
        let name = record_name(DEAD_PREFIX, number);
        let value = self.keyspace().record(&name);
        let value = value.map_err(|error| CallError::of_store(&error))?;
        let message = value.and_then(|value| OutboxMessage::parse(&value));
        Ok(message.map(|message| ListedRequest { number, message }))
    }

    /// Lets requests that were given up wait again. Returns the receipt to wait for.
    ///
    /// # Errors
    ///
    /// One of them was removed meanwhile, or nothing can be written.
    pub(crate) fn retry_requests(
        &self,
        requests: Vec<ListedRequest>,
    ) -> Result<ReceiptOf<K>, CallError> {
        let outbox = self.outbox()?;
        let mut changes = Vec::with_capacity(2 * requests.len());
        let mut dead = Vec::with_capacity(requests.len());
        let mut numbers = Vec::with_capacity(requests.len());
        for ListedRequest {
            number,
            mut message,
        } in requests
        {
            message.tries = 0;
            message.error = Box::default();
            dead.push(record_name(DEAD_PREFIX, number));
            changes.push((record_name(DEAD_PREFIX, number), None));
            let name = outbox.new_record_name(partition_of(number));
            changes.push((name, Some(message.to_bytes())));
            numbers.push(number);
        }
        let receipt = self.change_records_if(&dead, &changes)?;
        outbox.forget_dead(&numbers);
        Ok(receipt)
    }

    /// Removes requests that were given up. Returns the receipt to wait for.
    ///
    /// # Errors
    ///
    /// Nothing can be written.
    pub(crate) fn delete_requests(
        &self,
        requests: &[ListedRequest],
    ) -> Result<ReceiptOf<K>, CallError> {
        let outbox = self.outbox()?;
        let numbers: Vec<u64> = requests.iter().map(|request| request.number).collect();
        let changes: Vec<_> = numbers
            .iter()
            .map(|&number| (record_name(DEAD_PREFIX, number), None))
            .collect();
        let receipt = self.change_records(&changes)?;
        outbox.forget_dead(&numbers);
        Ok(receipt)
    }

    /// Waits until a request of the outbox can be sent; forever if this host has none. The host sends it,
    /// and asks for the next one meanwhile.
    ///
    /// One task of the host waits at a time.
    pub async fn due_request(&self) -> DueRequest<K> {
        let Some(outbox) = &self.0.outbox else {
            return std::future::pending().await;
        };
        let queue = &outbox.queue;
        loop {
            let planned = queue
                .next_moment()
                .unwrap_or_else(|| Moment::now().after(LONGEST));
            let due = poll_fn(|context| {
                match RequestQueue::next(queue, Moment::now(), context.waker()) {
                    Next::Due(turn) => Poll::Ready(Some(turn)),
                    // Earlier than the wait is for.
                    Next::At(at) if at < planned => Poll::Ready(None),
                    Next::At(_) | Next::Never => Poll::Pending,
                }
            });
            if let Ok(Some(turn)) = with_deadline(due, planned, None).await {
                return DueRequest {
                    runtime: self.clone(),
                    outbox: Arc::clone(outbox),
                    turn,
                };
            }
        }
    }
}

/// A request of the outbox that can be sent. If it is dropped before it was, it is sent later.
#[must_use = "a request that is due is to be sent"]
pub struct DueRequest<K: Keyspace> {
    runtime: Runtime<K>,
    outbox: Arc<Outbox>,
    turn: Turn,
}

/// Reason why a request was not accepted.
struct NotSent {
    text: String,
    /// False if further tries could not succeed.
    try_again: bool,
    /// The pause that the server asks for.
    pause: Option<Duration>,
}

impl NotSent {
    fn finally(text: &dyn Display) -> Self {
        Self {
            text: text.to_string(),
            try_again: false,
            pause: None,
        }
    }

    fn for_now(text: &dyn Display) -> Self {
        Self {
            try_again: true,
            ..Self::finally(text)
        }
    }
}

impl<K: Keyspace> DueRequest<K> {
    /// Sends the request once, and removes it if the server accepts it: by a status from 200 to 299. Else
    /// it is tried again after a pause, or given up after the last try.
    ///
    /// The try is counted first. `durable` waits until that is on disk, and returns false if it cannot
    /// be: so nothing is sent for a call that a crash may still discard.
    pub async fn send<F: Future<Output = bool>>(
        self,
        durable: impl FnOnce(ReceiptOf<K>) -> F,
    ) -> Option<ReceiptOf<K>> {
        let Self {
            runtime,
            outbox,
            turn,
        } = self;
        let name = record_name(PREFIX, turn.number);
        let value = match runtime.keyspace().record(&name) {
            Ok(Some(value)) => value,
            Ok(None) => {
                // It was removed, or another server has it by now.
                outbox.forget_accepted(turn.number);
                turn.finish();
                return None;
            }
            Err(error) => {
                outbox
                    .counters
                    .note_error(&CallError::of_store(&error).to_string());
                turn.pause(DATA_PAUSE);
                return None;
            }
        };
        let message = OutboxMessage::parse(&value);
        if message.is_none() {
            let number = turn.number;
            tracing::error!(number, "a request of the outbox is damaged and is removed");
        }
        let Some(mut message) = message.filter(|_| !outbox.is_accepted(turn.number)) else {
            return runtime.remove_request(&outbox, turn, name);
        };
        message.tries = message.tries.saturating_add(1);
        let counted = [(name.clone(), Some(message.to_bytes()))];
        let counted = runtime.change_records_if(std::slice::from_ref(&name), &counted);
        let durable = match counted {
            Ok(receipt) => durable(receipt).await,
            Err(error) => {
                outbox.counters.note_error(&error.to_string());
                false
            }
        };
        if !durable {
            turn.pause(DATA_PAUSE);
            return None;
        }
        let counters = &outbox.counters;
        let NotSent {
            text,
            try_again,
            pause,
        } = match runtime.send_message(&message).await {
            Ok(()) => {
                counters.sent.fetch_add(1, Ordering::Relaxed);
                return runtime.remove_request(&outbox, turn, name);
            }
            Err(not_sent) => not_sent,
        };
        counters.note_failure(&text);
        let function = message.function.clone();
        let origin = message.origin.clone();
        let (number, tries) = (turn.number, message.tries);
        tracing::debug!(%function, %origin, number, tries, error = text, "a request of the outbox was not accepted");
        let tries_max = runtime.options().network.limits.outbox_tries_max;
        if try_again && tries < tries_max {
            let planned = pause_after(tries);
            turn.pause(pause.map_or(planned, |asked| asked.clamp(planned, BACK_OFF_MAX)));
            return None;
        }
        match runtime.give_up_request(&outbox, number, message, &text) {
            Ok(receipt) => {
                tracing::warn!(%function, %origin, number, tries, error = text, "a request of the outbox was given up");
                counters.given_up.fetch_add(1, Ordering::Relaxed);
                turn.finish();
                Some(receipt)
            }
            Err(error) => {
                counters.note_error(&error.to_string());
                turn.pause(DATA_PAUSE);
                None
            }
        }
    }
}

impl<K: Keyspace> Runtime<K> {
    /// Sends a request once, if its function may still make it.
    async fn send_message(&self, message: &OutboxMessage) -> Result<(), NotSent> {
        let mut request = message
            .request()
            .map_err(|error| NotSent::finally(&error))?;
        request.reads_body = false;
        let registered = self
            .function(message.function.as_bytes())
            .map_err(|error| NotSent::finally(&error))?;
        let spec = self
            .spec(registered.record())
            .map_err(|error| NotSent::finally(&error))?;
        let policy = &spec.access_policy;
        policy
            .check_request(request.method, &request.url)
            .map_err(|denied| NotSent::finally(&CallError::from(denied)))?;
        let rules = Arc::clone(policy.network());
        let network = self.0.executor.network();
        let response = network.send(request, rules, &message.function).await;
        let response = response.map_err(|error| NotSent::for_now(&error))?;
        if (200..300).contains(&response.status) {
            return Ok(());
        }
        Err(NotSent {
            pause: asked_pause(&response),
            ..NotSent::for_now(&format_args!("HTTP {}", response.status))
        })
    }

    /// Removes a request that a server has accepted, or that is damaged. If it cannot be removed now, that is
    /// tried again later, and the request is not sent meanwhile.
    fn remove_request(&self, outbox: &Outbox, turn: Turn, name: Vec<u8>) -> Option<ReceiptOf<K>> {
        let number = turn.number;
        match self.change_records(&[(name, None)]) {
            Ok(receipt) => {
                outbox.forget_accepted(number);
                turn.finish();
                Some(receipt)
            }
            Err(error) => {
                if !outbox.is_accepted(number) {
                    tracing::warn!(number, %error, "a request was accepted, or is damaged, and cannot be removed from the outbox now; that is tried again, and after a restart an accepted one is sent again");
                    outbox.note_accepted(number);
                }
                turn.pause(DATA_PAUSE);
                None
            }
        }
    }

    /// Keeps a request among those that were given up, if it is still among those that wait.
    fn give_up_request(
        &self,
        outbox: &Outbox,
        number: u64,
        mut message: OutboxMessage,
        error: &str,
    ) -> Result<ReceiptOf<K>, CallError> {
        message.error = error.into();
        let waiting = record_name(PREFIX, number);
        let required = [waiting.clone()];
        let mut changes = vec![
            (waiting, None),
            (record_name(DEAD_PREFIX, number), Some(message.to_bytes())),
        ];
        let gone = outbox.oldest_dead();
        let names = gone.iter().map(|&number| record_name(DEAD_PREFIX, number));
        changes.extend(names.map(|name| (name, None)));
        let receipt = self.change_records_if(&required, &changes)?;
        outbox.forget_dead(&gone);
        outbox.note_dead(number);
        Ok(receipt)
    }
}

/// Returns the pause of the header `retry-after`, if it is a number of seconds.
fn asked_pause(response: &Response) -> Option<Duration> {
    let value = response.headers.get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
