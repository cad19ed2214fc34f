//! The waiting clients, by key and in order of arrival.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event_listener::Event;
use parking_lot::{Mutex, MutexGuard};

use super::wish::{BlockedRequest, Served};
use crate::durable::Receipt;
use crate::value::blob::Blob;

/// All blocked clients of a store.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    queues: Mutex<Queues>,
    /// Number of waiting clients; read without the lock, so commits pay nothing while it is 0.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queues {
    next_ticket: u64,
    /// By key, the waiting clients in order of arrival.
    by_key: HashMap<(u32, Blob), BTreeMap<u64, Arc<Waiter>>>,
}

/// One blocked client.
#[derive(Debug)]
pub(crate) struct Waiter {
    ticket: u64,
    pub(crate) wait: BlockedRequest,
    pub(crate) outcome: Mutex<Option<(Served, Receipt)>>,
    pub(crate) served: Event,
}

impl Registry {
    /// Number of keys that clients wait for.
    pub(crate) fn keys(&self) -> usize {
        self.queues.lock().by_key.len()
    }

    /// Adds a client. The caller holds the locks under which it found nothing.
    pub(crate) fn add(&self, wait: BlockedRequest) -> Arc<Waiter> {
        let mut queues = self.queues.lock();
        let ticket = queues.next_ticket;
        queues.next_ticket += 1;
        let waiter = Arc::new(Waiter {
            ticket,
            wait,
            outcome: Mutex::new(None),
            served: Event::new(),
        });
        for key in &waiter.wait.keys {
            let queue = queues
                .by_key
                .entry((waiter.wait.database, key.clone()))
                .or_default();
            queue.insert(ticket, Arc::clone(&waiter));
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        waiter
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Clients that wait for a key, longest first.
    pub(crate) fn waiting_for(&self, database: u32, key: &Blob) -> Vec<Arc<Waiter>> {
        let queues = self.queues.lock();
        let queue = queues.by_key.get(&(database, key.clone()));
        queue
            .map(|queue| queue.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Takes a client out to serve it; `None` if another thread did, or the client has given up.
    pub(crate) fn claim<'w>(&self, waiter: &'w Waiter) -> Option<Claim<'w>> {
        // Locked first, so that a client that was taken out waits here for the outcome.
        let outcome = waiter.outcome.lock();
        self.remove(waiter).then_some(Claim { waiter, outcome })
    }

    /// Removes a client; returns true if it was still waiting.
    pub(crate) fn remove(&self, waiter: &Waiter) -> bool {
        let mut queues = self.queues.lock();
        let mut was_waiting = false;
        for key in &waiter.wait.keys {
            let place = (waiter.wait.database, key.clone());
            if let Some(queue) = queues.by_key.get_mut(&place) {
                was_waiting |= queue.remove(&waiter.ticket).is_some();
                if queue.is_empty() {
                    queues.by_key.remove(&place);
                }
            }
        }
        if was_waiting {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        was_waiting
    }
}

/// The sole right to serve a client.
pub(crate) struct Claim<'w> {
    waiter: &'w Waiter,
    outcome: MutexGuard<'w, Option<(Served, Receipt)>>,
}

impl Claim<'_> {
    /// Gives the client the elements that were taken for it.
    pub(crate) fn serve(mut self, served: Served, receipt: Receipt) {
        *self.outcome = Some((served, receipt));
        drop(self.outcome);
        self.waiter.served.notify(usize::MAX);
    }
}
