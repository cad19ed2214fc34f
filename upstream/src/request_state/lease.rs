//! The right to send: one server of an engine has it at a time.
//!
//! It is a key that expires. Its server prolongs it again and again, and stops to send before it can have expired;
//! another server takes it once it has.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Time for which a server may send after it has asked for it.
pub(crate) const TERM: Duration = Duration::from_secs(3);

/// Time before its end from which on nothing is begun any more.
pub(crate) const MARGIN: Duration = Duration::from_millis(500);

/// The right to send, as this server knows it.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// The name under which this server asks for it.
    pub(crate) token: String,
    /// It ends at this moment at the earliest; `None` without it.
    until: Mutex<Option<Instant>>,
}

impl Lease {
    pub(crate) fn new(server_id: &str) -> Self {
        Self {
            token: server_id.to_owned(),
            until: Mutex::default(),
        }
    }

    /// Returns true if this server may send now.
    pub(crate) fn is_held(&self) -> bool {
        self.left() > MARGIN
    }

    /// Returns true if this server had it when it was asked for last, though it may have expired since.
    pub(crate) fn was_held(&self) -> bool {
        self.until.lock().is_some()
    }

    /// Returns the time until it ends at the earliest.
    pub(crate) fn left(&self) -> Duration {
        let until = *self.until.lock();
        let left = until.and_then(|until| until.checked_duration_since(Instant::now()));
        left.unwrap_or_default()
    }

    /// Notes that this server has asked for it and got it, or that it has it not.
    pub(crate) fn set(&self, asked: Option<Instant>) {
        *self.until.lock() = asked.map(|asked| asked + TERM);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Lease, MARGIN, TERM};

    #[test]
    fn it_is_over_before_its_end() {
        let lease = Lease::new("server");
        assert!(!lease.is_held());
        lease.set(Some(Instant::now()));
        assert!(lease.is_held());
        lease.set(Instant::now().checked_sub(TERM - MARGIN));
        assert!(!lease.is_held());
        lease.set(None);
        assert!(!lease.is_held());
    }
}
