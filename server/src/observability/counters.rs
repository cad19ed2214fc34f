//! Counters of the server. The runtime has those of functions.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Connections accepted.
    pub(crate) connections: Counter,
    /// Connections refused because of `server.max_connections`.
    pub(crate) connections_rejected: Counter,
    /// Connections closed because of a write, stall or idle timeout.
    pub(crate) connections_timed_out: Counter,
    /// Requests executed.
    pub(crate) requests: Counter,
    /// Requests that were not RESP or exceeded a limit.
    pub(crate) protocol_errors: Counter,
    /// Bytes received.
    pub(crate) input_bytes: Counter,
    /// Bytes sent.
    pub(crate) output_bytes: Counter,
    /// Wrong user names or passwords.
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
