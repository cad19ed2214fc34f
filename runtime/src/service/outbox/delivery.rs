//! Sends a request of the outbox, and keeps it among those that were given up if nobody accepts it.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ferrite_protocol::keyspace::Keyspace;

use super::records::{OwnRecords, RequestRecords};
use crate::automation::outbox::message::{DEAD_PREFIX, OutboxMessage, PREFIX, record_name};
use crate::automation::outbox::queue::{BACK_OFF_MAX, Turn, pause_after};
use crate::automation::outbox::table::Outbox;
use crate::call::request::ReceiptOf;
use crate::error::CallError;
use crate::policy::network::message::Response;
use crate::service::Runtime;

/// Pause of a request whose record cannot be read or changed at present.
const DATA_PAUSE: Duration = Duration::from_secs(1);

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
    pub(super) const fn new(runtime: Runtime<K>, outbox: Arc<Outbox>, turn: Turn) -> Self {
        Self {
            runtime,
            outbox,
            turn,
        }
    }

    /// Sends the request once, and removes it if the server accepts it: by a status from 200 to 299. Else
    /// it is tried again after a pause, or given up after the last try.
    ///
    /// The try is counted first. `durable` waits until that is on disk, and returns false if it cannot
    /// be: so nothing is sent for a call that a crash may still discard.
    pub async fn send<F: Future<Output = bool>>(
        self,
        durable: impl FnOnce(ReceiptOf<K>) -> F,
    ) -> Option<ReceiptOf<K>> {
        let runtime = self.runtime.clone();
        self.send_from(&OwnRecords(&runtime), durable).await
    }

    /// Sends the request in the same way, with its record where `records` has it.
    pub async fn send_from<R: RequestRecords, F: Future<Output = bool>>(
        self,
        records: &R,
        durable: impl FnOnce(R::Receipt) -> F,
    ) -> Option<R::Receipt> {
        let Self {
            runtime,
            outbox,
            turn,
        } = self;
        let name = record_name(PREFIX, turn.number);
        let value = match records.record(&name).await {
            Ok(Some(value)) => value,
            Ok(None) => {
                // It was removed, or another server has it by now.
                outbox.forget_accepted(turn.number);
                turn.finish();
                return None;
            }
            Err(error) => {
                outbox.counters.note_error(&error.to_string());
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
            return remove(records, &outbox, turn, name).await;
        };
        message.tries = message.tries.saturating_add(1);
        let counted = [(name.clone(), Some(message.to_bytes()))];
        let required = std::slice::from_ref(&name);
        let durable = match records.change_records(required, &counted).await {
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
                return remove(records, &outbox, turn, name).await;
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
        match give_up(records, &outbox, number, message, &text).await {
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
}

/// Removes a request that a server has accepted, or that is damaged. If it cannot be removed now, that is
/// tried again later, and the request is not sent meanwhile.
async fn remove<R: RequestRecords>(
    records: &R,
    outbox: &Outbox,
    turn: Turn,
    name: Vec<u8>,
) -> Option<R::Receipt> {
    let number = turn.number;
    match records.change_records(&[], &[(name, None)]).await {
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
async fn give_up<R: RequestRecords>(
    records: &R,
    outbox: &Outbox,
    number: u64,
    mut message: OutboxMessage,
    error: &str,
) -> Result<R::Receipt, CallError> {
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
    let receipt = records.change_records(&required, &changes).await?;
    outbox.forget_dead(&gone);
    outbox.note_dead(number);
    Ok(receipt)
}

/// Returns the pause of the header `retry-after`, if it is a number of seconds.
fn asked_pause(response: &Response) -> Option<Duration> {
    let value = response.headers.get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
