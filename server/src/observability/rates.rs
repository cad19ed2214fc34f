//! Rates of requests and bytes over the last seconds, for `INFO stats`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Samples that are kept; one comes every 100 ms, so they cover 1.5 seconds; Redis keeps as many.
const SAMPLES_MAX: usize = 16;

/// Counters of which there is a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) input_bytes: u64,
    pub(crate) output_bytes: u64,
}

/// The newest samples of the counters.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<VecDeque<(Instant, Totals)>>);

impl Rates {
    /// Adds the counters of now.
    pub(crate) fn sample(&self, now: Instant, totals: Totals) {
        let mut samples = self.0.lock();
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back((now, totals));
    }

    /// Returns the increase a second over the samples that are kept.
    pub(crate) fn per_second(&self) -> Totals {
        let samples = self.0.lock();
        let (Some((since, first)), Some((until, last))) = (samples.front(), samples.back()) else {
            return Totals::default();
        };
        let time = until.saturating_duration_since(*since);
        Totals {
            requests: per_second(last.requests.saturating_sub(first.requests), time),
            input_bytes: per_second(last.input_bytes.saturating_sub(first.input_bytes), time),
            output_bytes: per_second(last.output_bytes.saturating_sub(first.output_bytes), time),
        }
    }
}

fn per_second(increase: u64, time: Duration) -> u64 {
    let rate = u128::from(increase) * 1_000_000 / time.as_micros().max(1);
    if time.is_zero() {
        0
    } else {
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Rates, SAMPLES_MAX, Totals};

    #[test]
    fn a_rate_is_that_of_the_newest_samples() {
        let rates = Rates::default();
        assert_eq!(rates.per_second(), Totals::default());
        let start = Instant::now();
        for number in 0..100 {
            let totals = Totals {
                requests: number * 10,
                input_bytes: number * 1000,
                output_bytes: 7,
            };
            rates.sample(start + Duration::from_millis(number * 100), totals);
            if number == 0 {
                assert_eq!(rates.per_second(), Totals::default());
            }
        }
        let expected = Totals {
            requests: 100,
            input_bytes: 10_000,
            output_bytes: 0,
        };
        assert_eq!(rates.per_second(), expected);
        assert_eq!(rates.0.lock().len(), SAMPLES_MAX);
    }
}
