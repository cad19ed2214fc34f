//! The options of a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything that decides how a store behaves.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// Bounds on what clients may store.
    pub limits: Limits,
    /// Source of the time.
    pub clock: Clock,
}

/// Bounds on what clients may store.
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

/// Source of the time that expiry goes by.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A clock that somebody else moves, in milliseconds since the Unix epoch. For tests.
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
