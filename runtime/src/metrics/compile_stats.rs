//! Counters of compilations and of code found in the cache.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::latency_histogram::LatencyHistogram;

/// Counters of compilations and of code found in the cache, since the process started.
#[derive(Debug, Default)]
pub struct CompileStats {
    found: AtomicU64,
    failed: AtomicU64,
    compiling: LatencyHistogram,
}

impl CompileStats {
    /// Counts code that was in the cache.
    pub(crate) fn count_found(&self) {
        self.found.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a compilation, and how long the worker took for it.
    pub(crate) fn count_compiled(&self, took: Duration, done: bool) {
        self.compiling.record(took);
        if !done {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how often code was in the cache.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Returns the number of compilations without code: refused modules and failed workers.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns the durations of compilations, failed ones included, from the start of the worker to
    /// its answer.
    #[must_use]
    pub const fn compiling(&self) -> &LatencyHistogram {
        &self.compiling
    }
}
