//! Counters of calls and of what they ask of the engine.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Calls.
    pub calls: Counter,
    /// Times that a function ran, more than once in a call that had to begin again.
    pub tries: Counter,
    /// Requests of calls that the engine answered or was to answer.
    pub round_trips: Counter,
    /// Commits that the engine took.
    pub commits: Counter,
    /// Commits that it refused because a key had changed.
    pub commits_refused: Counter,
    /// Commits that waited because another call held their keys.
    pub commits_held_up: Counter,
    /// Times that a call held its keys, after several refused commits.
    pub leases: Counter,
    /// Commits that were sent again because the connection broke before the reply.
    pub commits_repeated: Counter,
    /// Times that a call waited for another server or for a slot to arrive.
    pub waits: Counter,
    /// Tries that lacked a key or a field.
    pub misses: Counter,
    /// Keys that were found among the kept values.
    pub kept_hits: Counter,
    /// Keys that were looked for among the kept values and were not there.
    pub kept_misses: Counter,
    /// Kept values that were removed because the engine told of a change, or could not tell any more.
    pub kept_invalidated: Counter,
    /// Calls that failed for the engine's sake.
    pub failures: Counter,
}
