//! Bounds how many lines a second clients can make the server log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lines that are written in one second.
const LINES_PER_SECOND: u64 = 10;

/// Counts the lines of one kind.
///
/// A second and a count share one word: the lines of the second since `began` that was seen last, in
/// the lower 32 bits. The second has the upper 32: 136 years.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    began: Instant,
    state: AtomicU64,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            state: AtomicU64::new(0),
        }
    }
}

impl LogThrottle {
    /// Counts a line. Returns the number of lines left out in the second of the line before if this
    /// one should be written, which is 0 within a second, and `None` if it should be left out.
    pub(crate) fn line(&self) -> Option<u64> {
        self.line_at(self.began.elapsed().as_secs())
    }

    fn line_at(&self, second: u64) -> Option<u64> {
        let mut left_out = 0;
        let mut count = 0;
        let counted = |state: u64| {
            let (seen, lines) = (state >> 32, state & u64::from(u32::MAX));
            // Another thread may have seen the next second first.
            (left_out, count) = if second <= seen {
                (0, (lines + 1).min(u64::from(u32::MAX)))
            } else {
                (lines.saturating_sub(LINES_PER_SECOND), 1)
            };
            Some((seen.max(second) << 32) | count)
        };
        // The closure always returns a state, so this cannot fail.
        let _ = self
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        (count <= LINES_PER_SECOND).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES_PER_SECOND, LogThrottle};

    #[test]
    fn a_second_has_so_many_lines_and_the_next_tells_the_rest() {
        let throttle = LogThrottle::default();
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(throttle.line_at(7), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(throttle.line_at(7), None);
        }
        assert_eq!(throttle.line_at(8), Some(1000));
        assert_eq!(throttle.line_at(8), Some(0));
        assert_eq!(throttle.line_at(100), Some(0));
    }
    #[test]
    fn a_late_thread_does_not_begin_a_second_again() {
        let throttle = LogThrottle::default();
        for second in [8, 7].into_iter().cycle().take(10) {
            assert_eq!(throttle.line_at(second), Some(0));
        }
        assert_eq!(throttle.line_at(7), None);
        assert_eq!(throttle.line_at(8), None);
        assert_eq!(throttle.line_at(9), Some(2));
    }
}
