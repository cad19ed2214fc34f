//! A look at the requests in the engine: who sends, and what has come and gone.

use std::collections::{BTreeSet, HashMap, HashSet};

use ferrite_protocol::record::Record;
use ferrite_runtime::Runtime;
use ferrite_runtime::automation::figures::OutboxUsage;
use ferrite_store::Store;
use redis::Value;

use super::EngineRequests;
use super::hold::Hold;
use crate::error::UpstreamError;
use crate::request_state::place::{FIGURES, Queue, slot_of_record};

/// The outcome of a look.
#[derive(Debug, Default)]
pub struct Look {
    /// True if this server has the right to send.
    pub sends: bool,
    /// Records that are not known here yet.
    pub came: Vec<Record>,
}

/// Names of records by the hash that they are in.
type Known = HashMap<(Queue, Option<u16>), HashSet<Vec<u8>>>;

impl EngineRequests<'_> {
    /// Takes the right to send if no other server has it. With it, looks at the requests, and forgets those in
    /// `runtime` that are gone; without it, only takes the figures over.
    ///
    /// # Errors
    ///
    /// The engine cannot be asked.
    pub async fn look(&self, runtime: &Runtime<Store>) -> Result<Look, UpstreamError> {
        let hold = self.hold().await?;
        if hold == Hold::Elsewhere {
            // Those that this server had to send are the other's.
            runtime.forget_requests();
            runtime.note_requests_elsewhere(Some(self.figures().await?));
            return Ok(Look::default());
        }
        if hold == Hold::Taken {
            self.upstream.request_turns.begin();
            *self.upstream.published_usage.lock() = None;
            runtime.forget_requests();
        }
        // Each time, because a command may have taken over another server's figures just before.
        runtime.note_requests_elsewhere(None);
        let looked = self.take_in(runtime).await;
        if looked.is_err() {
            self.look_again();
        }
        looked
    }

    /// Lets the next look begin anew, because what this one has found was not taken in.
    pub fn look_again(&self) {
        self.upstream.request_turns.begin();
    }

    /// Takes over the figures of the server that sends.
    ///
    /// # Errors
    ///
    /// The engine cannot be asked.
    pub async fn refresh_figures(&self, runtime: &Runtime<Store>) -> Result<(), UpstreamError> {
        if self.upstream.lease_to_send.was_held() {
            return Ok(());
        }
        let figures = self.figures().await?;
        // It may have got the right meanwhile.
        if !self.upstream.lease_to_send.was_held() {
            runtime.note_requests_elsewhere(Some(figures));
        }
        Ok(())
    }

    async fn take_in(&self, runtime: &Runtime<Store>) -> Result<Look, UpstreamError> {
        let has_slots = self.upstream.topology().is_cluster();
        let mut known = Known::new();
        let mut used = BTreeSet::new();
        for name in runtime.known_requests() {
            let slot = has_slots.then(|| slot_of_record(&name));
            used.extend(slot);
            let place = (Queue::of(&name), slot);
            known.entry(place).or_default().insert(name);
        }
        let slots = self.slots_of_turn(used.iter().copied()).await?;
        let none = HashSet::new();
        let (mut came, mut gone) = (Vec::new(), Vec::new());
        for (index, slot) in slots.into_iter().enumerate() {
            // Many slots take longer than the right lasts.
            if index % 64 == 63 && self.hold().await? != Hold::Prolonged {
                self.release().await;
                return Ok(Look::default());
            }
            for queue in Queue::ALL {
                let known = known.get(&(queue, slot)).unwrap_or(&none);
                // Only this server removes what waits, so new ones make the number another one.
                if self.count(queue, slot).await? == known.len() {
                    continue;
                }
                let found = self.names(queue, slot).await?;
                let new: Vec<&[u8]> = found
                    .iter()
                    .filter(|name| !known.contains(*name))
                    .map(Vec::as_slice)
                    .collect();
                came.extend(self.read(queue, slot, &new).await?);
                let found: HashSet<&[u8]> = found.iter().map(Vec::as_slice).collect();
                let vanished = known.iter().filter(|name| !found.contains(name.as_slice()));
                gone.extend(vanished.cloned());
            }
        }
        runtime.forget_requests_named(gone.iter().map(Vec::as_slice));
        if has_slots {
            used.extend(came.iter().map(|(name, _)| slot_of_record(name)));
            self.prune_slots(&used).await?;
        }
        self.publish_figures(runtime).await?;
        Ok(Look { sends: true, came })
    }

    async fn count(&self, queue: Queue, slot: Option<u16>) -> Result<usize, UpstreamError> {
        let key = queue.key(slot);
        match self.send(&key, redis::cmd("HLEN").arg(&key)).await? {
            Value::Int(count) => Ok(usize::try_from(count).unwrap_or(0)),
            _ => Ok(0),
        }
    }

    /// Returns the figures of the server that sends.
    async fn figures(&self) -> Result<OutboxUsage, UpstreamError> {
        let mut command = redis::cmd("HMGET");
        command.arg(FIGURES);
        command.arg("pending").arg("pending_bytes").arg("dead");
        let reply = self.send(FIGURES, &command).await?;
        let figure = |at: usize| -> Option<usize> {
            let Value::Array(values) = &reply else {
                return None;
            };
            let Some(Value::BulkString(digits)) = values.get(at) else {
                return None;
            };
            std::str::from_utf8(digits).ok()?.parse().ok()
        };
        Ok(OutboxUsage {
            pending: figure(0).unwrap_or(0),
            pending_bytes: figure(1).unwrap_or(0),
            dead: figure(2).unwrap_or(0),
        })
    }

    /// Lets other servers know the figures, if they have changed.
    ///
    /// # Errors
    ///
    /// The engine does not take them.
    pub async fn publish_figures(&self, runtime: &Runtime<Store>) -> Result<(), UpstreamError> {
        let figures = runtime.outbox_figures().unwrap_or_default();
        let usage = OutboxUsage {
            pending: figures.pending,
            pending_bytes: figures.pending_bytes,
            dead: figures.dead,
        };
        let published = &self.upstream.published_usage;
        if *published.lock() == Some(usage) {
            return Ok(());
        }
        let mut command = redis::cmd("HSET");
        command.arg(FIGURES);
        command.arg("pending").arg(usage.pending);
        command.arg("pending_bytes").arg(usage.pending_bytes);
        command.arg("dead").arg(usage.dead);
        self.send(FIGURES, &command).await?;
        *published.lock() = Some(usage);
        Ok(())
    }
}
