//! What the server counts about itself, apart from functions, which the runtime counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Connections accepted.
    pub(crate) connections: Counter,
    /// Connections refused because there were too many.
    pub(crate) connections_rejected: Counter,
    /// Connections ended because they took no replies, stalled or were idle.
    pub(crate) connections_timed_out: Counter,
    /// Requests executed.
    pub(crate) requests: Counter,
    /// Requests that were not RESP, or past a bound.
    pub(crate) protocol_errors: Counter,
    /// Bytes received.
    pub(crate) input_bytes: Counter,
    /// Bytes sent.
    pub(crate) output_bytes: Counter,
    /// Wrong names or passwords.
    pub(crate) authentication_failures: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
