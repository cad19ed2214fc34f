//! Counters of one function's calls: number, latency, fuel, errors.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrite_cache::Digest;
use parking_lot::Mutex;

use crate::error::{CallError, Code};
use crate::metrics::latency_histogram::LatencyHistogram;
use crate::scheduling::per_core::PerCore;

/// Errors that are kept of each function, the newest.
pub const RECENT_ERRORS_MAX: usize = 32;

/// Longest error text that is kept, in bytes.
const ERROR_TEXT_BYTES_MAX: usize = 1024;

/// Counters of one function's calls. They survive a reload, and end with an unload.
#[derive(Debug, Default)]
pub struct FunctionStats {
    /// Counters that every call adds to. Made at the first call: most functions of a large registry
    /// are never called.
    tallies: OnceLock<PerCore<Tally>>,
    retries: AtomicU64,
    errors: [AtomicU64; Code::ALL.len()],
    /// Made with the first sample.
    latency: OnceLock<Box<LatencyHistogram>>,
    recent: Mutex<VecDeque<RecentError>>,
}

/// The sums of the calls of some threads.
#[derive(Debug, Default)]
struct Tally {
    calls: AtomicU64,
    fuel: AtomicU64,
}

/// An error that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentError {
    /// Time of the error, in milliseconds since 1970.
    pub unix_millis: u64,
    /// Kind of the error.
    pub code: Code,
    /// Its text, shortened.
    pub text: Box<str>,
    /// Digest of the source that ran, if one did.
    pub digest: Option<Digest>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// Calls that ended, with and without success.
    pub calls: u64,
    /// Fuel that they used, with all tries.
    pub fuel: u64,
    /// Tries beyond the first, because others changed the same keys meanwhile.
    pub retries: u64,
    /// Calls that ended with an error.
    pub errors: u64,
    /// The same by code, those that occurred.
    pub errors_by_code: Vec<(Code, u64)>,
    /// Median latency of the sampled calls.
    pub p50: Option<Duration>,
    /// 99th percentile of the latency of the sampled calls.
    pub p99: Option<Duration>,
}

impl FunctionStats {
    /// Counts a call that ended.
    #[inline]
    pub fn record(&self, fuel: u64, tries: u32, latency: Option<Duration>) {
        let tallies = self
            .tallies
            .get_or_init(|| PerCore::new(usize::MAX, |_, _| Tally::default()));
        let tally = tallies.local();
        tally.calls.fetch_add(1, Ordering::Relaxed);
        tally.fuel.fetch_add(fuel, Ordering::Relaxed);
        if tries > 1 {
            self.retries
                .fetch_add(u64::from(tries - 1), Ordering::Relaxed);
        }
        if let Some(latency) = latency {
            self.latency.get_or_init(Box::default).record(latency);
        }
    }

    /// Counts an error and keeps it. A call that failed is counted by [`FunctionStats::record`] as
    /// well.
    #[cold]
    pub fn record_error(&self, error: &CallError, digest: Option<Digest>) {
        let code = error.code();
        if let Some(at) = Code::ALL.iter().position(|known| *known == code) {
            self.errors[at].fetch_add(1, Ordering::Relaxed);
        }
        let unix_millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            });
        let kept = RecentError {
            unix_millis,
            code,
            text: shortened(error.text()).into(),
            digest,
        };
        let mut recent = self.recent.lock();
        if recent.len() == RECENT_ERRORS_MAX {
            recent.pop_front();
        }
        recent.push_back(kept);
    }

    /// The errors that are kept, the newest first, at most `count_max`.
    #[must_use]
    pub fn recent_errors(&self, count_max: usize) -> Vec<RecentError> {
        let recent = self.recent.lock();
        recent.iter().rev().take(count_max).cloned().collect()
    }

    /// The last error.
    #[must_use]
    pub fn last_error(&self) -> Option<RecentError> {
        self.recent.lock().back().cloned()
    }

    /// The histogram of sampled latencies, if there was a sample.
    #[must_use]
    pub fn latency(&self) -> Option<&LatencyHistogram> {
        self.latency.get().map(|latency| &**latency)
    }

    /// Returns the counters now; not of one instant, because calls continue.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        let errors_by_code: Vec<(Code, u64)> = Code::ALL
            .into_iter()
            .zip(&self.errors)
            .map(|(code, count)| (code, count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let quantiles = self
            .latency()
            .and_then(|latency| latency.quantiles([0.5, 0.99]));
        let sum = |count: fn(&Tally) -> &AtomicU64| {
            let tallies = self.tallies.get().into_iter().flat_map(PerCore::iter);
            tallies.fold(0, |sum: u64, tally| {
                sum.wrapping_add(count(tally).load(Ordering::Relaxed))
            })
        };
        StatsSnapshot {
            calls: sum(|tally| &tally.calls),
            fuel: sum(|tally| &tally.fuel),
            retries: self.retries.load(Ordering::Relaxed),
            errors: errors_by_code.iter().map(|(_, count)| count).sum(),
            errors_by_code,
            p50: quantiles.map(|[p50, _]| p50),
            p99: quantiles.map(|[_, p99]| p99),
        }
    }
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(ERROR_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FunctionStats, RECENT_ERRORS_MAX};
    use crate::error::{CallError, Code};

    #[test]
    fn calls_and_errors_are_counted() {
        let stats = FunctionStats::default();
        assert_eq!(stats.snapshot(), super::StatsSnapshot::default());
        stats.record(10, 1, None);
        stats.record(20, 3, Some(Duration::from_micros(7)));
        stats.record_error(&CallError::fuel(5), None);
        stats.record_error(&CallError::killed(), None);
        stats.record_error(&CallError::killed(), None);
        let snapshot = stats.snapshot();
        assert_eq!(
            (snapshot.calls, snapshot.fuel, snapshot.retries),
            (2, 30, 2)
        );
        assert_eq!(snapshot.errors, 3);
        assert_eq!(
            snapshot.errors_by_code,
            [(Code::Fuel, 1), (Code::Killed, 2)]
        );
        assert!(snapshot.p50.is_some() && snapshot.p50 == snapshot.p99);
    }

    #[test]
    fn the_newest_errors_are_kept_and_shortened() {
        let stats = FunctionStats::default();
        for number in 0..RECENT_ERRORS_MAX + 5 {
            stats.record_error(&CallError::invalid(format!("error {number}")), None);
        }
        let recent = stats.recent_errors(usize::MAX);
        assert_eq!(recent.len(), RECENT_ERRORS_MAX);
        assert_eq!(&*recent[0].text, format!("error {}", RECENT_ERRORS_MAX + 4));
        assert_eq!(stats.recent_errors(1), recent[..1]);

        stats.record_error(&CallError::invalid("é".repeat(10_000)), None);
        let last = stats.last_error().expect("there is one");
        assert!(last.text.len() <= 1024 && last.unix_millis > 0);
    }
}
