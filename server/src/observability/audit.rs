//! Chooses the calls that get a line in the audit log.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::config;

/// Chooses the calls that get a line.
#[derive(Debug)]
pub(crate) struct Audit {
    /// 0 for none, 1 for errors alone, and otherwise one more than `every` of `OneIn`.
    which: AtomicU32,
    calls: AtomicU32,
}

impl Audit {
    pub(crate) fn new(which: config::Audit) -> Self {
        let audit = Self {
            which: AtomicU32::new(0),
            calls: AtomicU32::new(0),
        };
        audit.set(which);
        audit
    }

    /// Changes which calls get a line.
    pub(crate) fn set(&self, which: config::Audit) {
        let which = match which {
            config::Audit::Off => 0,
            config::Audit::Errors => 1,
            config::Audit::OneIn(every) => every.saturating_add(1),
        };
        self.which.store(which, Ordering::Relaxed);
    }

    /// Returns the time if the call that starts now gets a line even if it succeeds.
    #[inline]
    pub(crate) fn sample(&self) -> Option<Instant> {
        match self.which.load(Ordering::Relaxed) {
            0 | 1 => None,
            which => {
                let turn = self.calls.fetch_add(1, Ordering::Relaxed);
                turn.is_multiple_of(which - 1).then(Instant::now)
            }
        }
    }

    /// Returns true if every failed call gets a line.
    pub(crate) fn wants_errors(&self) -> bool {
        self.which.load(Ordering::Relaxed) > 0
    }
}
