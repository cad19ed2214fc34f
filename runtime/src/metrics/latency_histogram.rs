//! A histogram of latencies that many threads count into without a lock.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Buckets for each doubling: a reading is off by at most an eighth.
const STEPS: u64 = 8;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Doublings that are told apart, in nanoseconds: up to 2^40, which is 18 minutes.
const DOUBLINGS: usize = 38;

const BUCKETS: usize = DOUBLINGS * STEPS as usize;

/// Counts how long calls took, each in a bucket an eighth of its value wide.
///
/// `hdrhistogram` counts the same way and needs exclusive access to do it.
pub struct LatencyHistogram {
    buckets: [AtomicU32; BUCKETS],
}

impl LatencyHistogram {
    /// A histogram without any counts.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
        }
    }

    /// Counts one latency.
    pub fn record(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        // A count of four thousand million wraps, and shifts no percentile by then.
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
    }

    /// The latencies below which the given shares (0 to 1, ascending) of all counts lie; `None`
    /// where nothing was counted.
    #[must_use]
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> Option<[Duration; N]> {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|count| u64::from(count.load(Ordering::Relaxed)))
            .collect();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return None;
        }
        Some(shares.map(|share| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of a count of calls; a rank off by one in 2^52 is no matter"
            )]
            let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
            let mut below = 0;
            let found = counts.iter().position(|count| {
                below += count;
                below >= rank
            });
            Duration::from_nanos(upper_end(found.unwrap_or(BUCKETS - 1)))
        }))
    }

    /// Returns the upper end and the count of each bucket that is not empty.
    pub fn counts(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.buckets.iter().enumerate().filter_map(|(at, count)| {
            let count = u64::from(count.load(Ordering::Relaxed));
            (count > 0).then(|| (Duration::from_nanos(upper_end(at)), count))
        })
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for LatencyHistogram {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_map().entries(self.counts()).finish()
    }
}

/// The first bits of a number and how many follow; numbers below [`STEPS`] are their own buckets.
fn bucket(nanos: u64) -> usize {
    let index = if nanos < STEPS {
        nanos
    } else {
        let shift = nanos.ilog2() - STEP_BITS;
        (u64::from(shift) + 1) * STEPS + ((nanos >> shift) - STEPS)
    };
    usize::try_from(index)
        .unwrap_or(usize::MAX)
        .min(BUCKETS - 1)
}

/// The largest number that belongs to a bucket.
fn upper_end(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    let first = (STEPS + index % STEPS) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BUCKETS, LatencyHistogram, bucket, upper_end};

    #[test]
    fn buckets_follow_each_other_without_gap() {
        for index in 0..BUCKETS - 1 {
            assert_eq!(bucket(upper_end(index)), index);
            assert_eq!(bucket(upper_end(index) + 1), index + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert!(upper_end(BUCKETS - 1) > 1_000_000_000_000);
    }

    #[test]
    fn quantiles_are_right_to_an_eighth() {
        let histogram = LatencyHistogram::new();
        assert_eq!(histogram.quantiles([0.5]), None);
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let quantiles = histogram.quantiles([0.0, 0.5, 0.99, 1.0]).expect("counted");
        for (found, micros) in quantiles.into_iter().zip([1, 500, 990, 1000]) {
            let exact = Duration::from_micros(micros);
            assert!(
                found >= exact && found <= exact * 9 / 8,
                "{found:?} {exact:?}"
            );
        }
        assert_eq!(
            histogram.counts().map(|(_, count)| count).sum::<u64>(),
            1000
        );
    }
}
