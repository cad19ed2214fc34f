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
    /// Requests that wait for a key, such as those of `BLPOP`.
    pub(crate) blocked: Gauge,
}

impl Stats {
    /// Sets every counter to zero, as `CONFIG RESETSTAT` does.
    pub(crate) fn reset(&self) {
        let Self {
            connections,
            connections_rejected,
            connections_timed_out,
            requests,
            protocol_errors,
            input_bytes,
            output_bytes,
            authentication_failures,
            blocked: _, // Tells the present.
        } = self;
        for counter in [
            connections,
            connections_rejected,
            connections_timed_out,
            requests,
            protocol_errors,
            input_bytes,
            output_bytes,
            authentication_failures,
        ] {
            counter.0.store(0, Ordering::Relaxed);
        }
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    /// Raises the number by one until the result is dropped.
    pub(crate) fn enter(&self) -> GaugeGuard<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        GaugeGuard(self)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of what a [`Gauge`] counts.
#[derive(Debug)]
pub(crate) struct GaugeGuard<'a>(&'a Gauge);

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
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
