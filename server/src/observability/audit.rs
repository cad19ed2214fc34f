//! Chooses the calls that get a line in the audit log.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::config;

/// Chooses the calls that get a line.
#[derive(Debug)]
pub(crate) struct Audit {
    which: config::Audit,
    calls: AtomicU32,
}

impl Audit {
    pub(crate) const fn new(which: config::Audit) -> Self {
        Self {
            which,
            calls: AtomicU32::new(0),
        }
    }

    /// Returns the time if the call that starts now gets a line even if it succeeds.
    #[inline]
    pub(crate) fn sample(&self) -> Option<Instant> {
        match self.which {
            config::Audit::Off => None,
            config::Audit::Errors => None,
            config::Audit::OneIn(every) => {
                let turn = self.calls.fetch_add(1, Ordering::Relaxed);
                turn.is_multiple_of(every).then(Instant::now)
            }
        }
    }

    /// Returns true if every failed call gets a line.
    pub(crate) const fn wants_errors(&self) -> bool {
        !matches!(self.which, config::Audit::Off)
    }
}
