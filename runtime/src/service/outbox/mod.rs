//! The outbox of a runtime: takes in the requests that calls have committed, lists those that were given up, and
//! says which one is due.

pub(crate) mod delivery;
pub(crate) mod records;

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ferrite_protocol::events::{EventSink, KeyspaceEvent};
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::record::Record;

use super::Runtime;
use crate::automation::figures::{OutboxFigures, OutboxUsage};
use crate::automation::number::partition_of;
use crate::automation::outbox::message::{
    DEAD_PREFIX, OutboxMessage, PREFIX, number_of, record_name,
};
use crate::automation::outbox::queue::{Next, RequestQueue};
use crate::automation::outbox::table::Outbox;
use crate::automation::trigger::table::Triggers;
use crate::error::CallError;
use crate::scheduling::moment::Moment;
use crate::scheduling::wait::with_deadline;
use delivery::DueRequest;
use records::RequestRecords;

/// Longest wait while nothing can be sent.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

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
                "this host has no outbox; ferrite-server has one, and Valkey and Redis with the module",
            )
        })
    }

    /// Forgets the requests that wait here, because this server does not send them any more.
    pub fn forget_requests(&self) {
        if let Some(outbox) = &self.0.outbox {
            outbox.forget();
        }
    }

    /// Counts a request that a call has committed to data that is kept elsewhere, by its record. It waits here to be
    /// sent, unless another server sends.
    pub fn request_committed(&self, name: &[u8], value: &[u8]) {
        if let Some(outbox) = &self.0.outbox {
            outbox.committed(name, value);
        }
    }

    /// Takes in the records of requests that others have committed or given up.
    pub fn take_in_requests(&self, records: &[Record]) {
        for (name, value) in records {
            if let Some(outbox) = &self.0.outbox
                && !outbox.load(name, value)
            {
                note_damage(name);
            }
        }
    }

    /// Returns the names of the records of all requests that are known here: those that wait, and those that
    /// were given up.
    #[must_use]
    pub fn known_requests(&self) -> Vec<Vec<u8>> {
        let outbox = self.0.outbox.as_ref();
        outbox.map_or_else(Vec::new, |outbox| outbox.known())
    }

    /// Forgets requests whose records others have removed.
    pub fn forget_requests_named<'n>(&self, names: impl Iterator<Item = &'n [u8]>) {
        if let Some(outbox) = &self.0.outbox {
            outbox.forget_records(names);
        }
    }

    /// Notes that another server sends, which has these requests; `None` if this server sends.
    pub fn note_requests_elsewhere(&self, usage: Option<OutboxUsage>) {
        if let Some(outbox) = &self.0.outbox {
            outbox.set_elsewhere(usage);
        }
    }

    /// Notes the reason why this server cannot send at present.
    pub fn note_outbox_error(&self, error: &str) {
        if let Some(outbox) = &self.0.outbox {
            outbox.counters.note_error(error);
        }
    }

    /// Returns at most `count` requests with records of this prefix for which `wanted` returns true, the
    /// oldest first. Reads no further than it must.
    ///
    /// # Errors
    ///
    /// They cannot be read at present.
    pub(crate) async fn outbox_requests<R: RequestRecords>(
        &self,
        records: &R,
        prefix: &[u8],
        count: usize,
        wanted: impl Fn(&OutboxMessage) -> bool + Send + Sync,
    ) -> Result<Vec<ListedRequest>, CallError> {
        let mut found = Vec::new();
        let mut visit = |name: &[u8], value: &[u8]| {
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
        };
        records.each_record(prefix, count, &mut visit).await?;
        Ok(found)
    }

    /// Returns the request of this number that was given up; `None` if there is none here.
    ///
    /// # Errors
    ///
    /// It cannot be read at present.
    pub(crate) async fn given_up_request<R: RequestRecords>(
        &self,
        records: &R,
        number: u64,
    ) -> Result<Option<ListedRequest>, CallError> {
        let value = records.record(&record_name(DEAD_PREFIX, number)).await?;
        let message = value.and_then(|value| OutboxMessage::parse(&value));
        Ok(message.map(|message| ListedRequest { number, message }))
    }

    /// Lets requests that were given up wait again. Returns the receipt to wait for.
    ///
    /// # Errors
    ///
    /// One of them was removed meanwhile, or nothing can be written.
    pub(crate) async fn retry_requests<R: RequestRecords>(
        &self,
        records: &R,
        requests: Vec<ListedRequest>,
    ) -> Result<R::Receipt, CallError> {
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
        let receipt = records.change_records(&dead, &changes).await?;
        outbox.forget_dead(&numbers);
        Ok(receipt)
    }

    /// Removes requests that were given up. Returns the receipt to wait for.
    ///
    /// # Errors
    ///
    /// Nothing can be written.
    pub(crate) async fn delete_requests<R: RequestRecords>(
        &self,
        records: &R,
        requests: &[ListedRequest],
    ) -> Result<R::Receipt, CallError> {
        let outbox = self.outbox()?;
        let numbers: Vec<u64> = requests.iter().map(|request| request.number).collect();
        let changes: Vec<_> = numbers
            .iter()
            .map(|&number| (record_name(DEAD_PREFIX, number), None))
            .collect();
        let receipt = records.change_records(&[], &changes).await?;
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
                return DueRequest::new(self.clone(), Arc::clone(outbox), turn);
            }
        }
    }
}
