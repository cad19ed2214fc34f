//! The outbox of a runtime: its requests, those that were given up, and its figures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::message::{DEAD_PREFIX, OutboxMessage, PREFIX, number_of, origin_of, record_name};
use super::queue::{PENDING_BYTES_MAX, RequestQueue, Usage};
use crate::automation::figures::OutboxFigures;

/// Most requests that were given up and are kept; a later one makes the oldest go.
pub(crate) const DEAD_MAX: usize = 1000;

/// Requests that calls have committed.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) queue: Arc<RequestQueue>,
    /// Most requests that wait.
    pending_max: usize,
    /// The number of the next request.
    next: AtomicU64,
    /// Numbers of the requests that were given up.
    dead: Mutex<BTreeSet<u64>>,
    pub(crate) counters: Counters,
}

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests that were committed.
    queued: AtomicU64,
    /// Requests that a server has accepted.
    pub(crate) sent: AtomicU64,
    /// Tries that failed.
    failures: AtomicU64,
    /// Requests that were given up.
    pub(crate) given_up: AtomicU64,
    /// The error of the last try that failed.
    last_error: Mutex<Option<Box<str>>>,
}

impl Counters {
    pub(crate) fn note_failure(&self, error: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock() = Some(error.into());
    }
}

impl Outbox {
    /// Makes an empty outbox for at most `pending_max` requests.
    pub(crate) fn new(pending_max: usize) -> Self {
        Self {
            queue: Arc::default(),
            pending_max,
            next: AtomicU64::new(1),
            dead: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// Returns the reason why no request can be added, if there is one.
    pub(crate) fn full(&self) -> Option<String> {
        let Usage { pending, bytes } = self.queue.usage();
        if pending >= self.pending_max {
            return Some(format!(
                "{pending} requests wait in the outbox, the limit is {}; try again later, or raise max_outbox",
                self.pending_max
            ));
        }
        (bytes >= PENDING_BYTES_MAX).then(|| {
            format!(
                "the requests in the outbox have {bytes} bytes, the limit is {PENDING_BYTES_MAX}; try again later"
            )
        })
    }

    /// Returns the name of the record of a new request.
    pub(crate) fn new_record_name(&self) -> Vec<u8> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        record_name(PREFIX, number)
    }

    /// Takes in a record that was kept by an earlier process.
    pub(crate) fn load(&self, name: &[u8], value: &[u8]) -> bool {
        if let Some(number) = number_of(DEAD_PREFIX, name) {
            self.next.fetch_max(number + 1, Ordering::Relaxed);
            self.dead.lock().insert(number);
            return OutboxMessage::parse(value).is_some();
        }
        let (Some(number), Some(origin)) = (number_of(PREFIX, name), origin_of(value)) else {
            return false;
        };
        self.next.fetch_max(number + 1, Ordering::Relaxed);
        self.queue.push(number, origin, value.len());
        true
    }

    /// Takes in a record that was committed.
    pub(crate) fn record_set(&self, name: &[u8], value: &[u8]) {
        if let (Some(number), Some(origin)) = (number_of(PREFIX, name), origin_of(value))
            && self.queue.push(number, origin, value.len())
        {
            self.counters.queued.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes a request that was given up.
    pub(crate) fn note_dead(&self, number: u64) {
        self.dead.lock().insert(number);
    }

    /// Returns the numbers of the requests that make room for one more that is given up.
    pub(crate) fn oldest_dead(&self) -> Vec<u64> {
        let dead = self.dead.lock();
        let over = (dead.len() + 1).saturating_sub(DEAD_MAX);
        dead.iter().take(over).copied().collect()
    }

    /// Forgets requests that were given up.
    pub(crate) fn forget_dead(&self, numbers: &[u64]) {
        self.dead.lock().retain(|number| !numbers.contains(number));
    }

    /// Returns the figures of this moment.
    pub(crate) fn figures(&self) -> OutboxFigures {
        let Usage { pending, bytes } = self.queue.usage();
        let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let Counters {
            queued,
            sent,
            failures,
            given_up,
            last_error,
        } = &self.counters;
        OutboxFigures {
            pending,
            pending_bytes: bytes,
            dead: self.dead.lock().len(),
            queued: count(queued),
            sent: count(sent),
            failures: count(failures),
            given_up: count(given_up),
            last_error: last_error.lock().clone(),
        }
    }
}
