//! The size of the cache as this process knows it, so that it is seldom measured.

use std::time::{Duration, Instant};

/// Time after which the cache is measured again: other processes may have added files.
const MEASURE_EVERY: Duration = Duration::from_secs(60);

/// The size of the cache, of which nothing is known before the first measurement.
#[derive(Debug, Default)]
pub(crate) struct CacheSize(Option<Known>);

#[derive(Debug)]
struct Known {
    measured: Instant,
    /// The bytes that were measured, and those that this process has added since.
    bytes: u64,
}

impl CacheSize {
    /// Counts bytes that this process has added, at most.
    pub(crate) fn add(&mut self, bytes: u64) {
        if let Some(known) = &mut self.0 {
            known.bytes = known.bytes.saturating_add(bytes);
        }
    }

    /// Returns true if the cache may have more than `bytes_max` at `now`, and is to be measured.
    pub(crate) fn may_exceed(&self, bytes_max: u64, now: Instant) -> bool {
        self.0.as_ref().is_none_or(|known| {
            known.bytes > bytes_max || now.duration_since(known.measured) >= MEASURE_EVERY
        })
    }

    /// Notes what was measured.
    pub(crate) fn measured(&mut self, bytes: u64, now: Instant) {
        self.0 = Some(Known {
            measured: now,
            bytes,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{CacheSize, MEASURE_EVERY};

    #[test]
    fn a_cache_with_room_is_not_measured_again_at_each_load() {
        let start = Instant::now();
        let mut size = CacheSize::default();
        size.add(1);
        assert!(size.may_exceed(1_000, start), "nothing is known yet");
        size.measured(100, start);
        for _ in 0..9 {
            size.add(100);
            assert!(!size.may_exceed(1_000, start));
        }
        size.add(1);
        assert!(size.may_exceed(1_000, start), "it may be too large");
        size.measured(900, start);
        assert!(!size.may_exceed(1_000, start));
        let later = start + MEASURE_EVERY;
        assert!(size.may_exceed(1_000, later), "others may have added files");
    }
}
