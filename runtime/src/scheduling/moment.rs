//! The process's monotonic clock.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// A moment on the process's monotonic clock, in whole microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Moment {
    /// Makes a moment from its microseconds; see [`Moment::micros`].
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the clock's origin, about the start of the process.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        Self(u64::try_from(ORIGIN.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Returns the time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Returns the moment `duration` after this one.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}
