//! The options of a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The options of a store.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// Bounds on stored values.
    pub limits: Limits,
    /// Clock for expiry.
    pub clock: Clock,
}

/// Bounds on stored values.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest string value that a command may build, in bytes. Redis calls it
    /// `proto-max-bulk-len` and has the same default.
    pub string_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            string_bytes_max: 512 << 20,
        }
    }
}

/// Clock for expiry.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A clock that the caller moves, in milliseconds since the Unix epoch. For tests.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_millis(&self) -> i64 {
        match self {
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| {
                    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
                }),
            Self::Manual(now) => now.load(Ordering::Acquire),
        }
    }
}
