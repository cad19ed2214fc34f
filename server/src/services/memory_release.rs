//! Gives memory back to the system after much of the data is gone.
//!
//! The allocator keeps what is freed for later use. After a flush that would be almost everything, and
//! `max_memory`, which looks at what the process takes up, would refuse commands for nothing.

#![allow(
    unsafe_code,
    reason = "a function of the allocator without a safe wrapper"
)]

use std::time::{Duration, Instant};

use crate::state::ServerState;

/// Keys or elements that must have gone.
const FREED_MIN: u64 = 50_000;

/// Shortest time between two releases: each looks at everything that is free.
const RELEASE_INTERVAL: Duration = Duration::from_secs(5);

/// Decides when to release memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryRelease {
    /// Most keys since the last release.
    keys_max: u64,
    /// Keys at the last look.
    keys: u64,
    /// The store's count at the last release.
    freed: u64,
    released_at: Option<Instant>,
}

impl MemoryRelease {
    /// Looks at the store, and starts a release on a thread of its own if much has gone. Called about
    /// ten times a second.
    pub(crate) fn check(&mut self, state: &ServerState) {
        let keys = state
            .store
            .usage()
            .iter()
            .map(|usage| usage.keys as u64)
            .sum();
        if self.is_due(keys, state.store.freed_in_bulk(), Instant::now()) {
            tokio::task::spawn_blocking(release);
        }
    }

    /// Returns true if a release is due, and begins to count anew.
    fn is_due(&mut self, keys: u64, freed: u64, now: Instant) -> bool {
        self.keys_max = self.keys_max.max(keys);
        let still_falling = keys < self.keys;
        self.keys = keys;
        let gone = self.keys_max - keys;
        let keys_went = gone >= FREED_MIN && gone >= self.keys_max / 4;
        let elements_went = freed - self.freed >= FREED_MIN;
        let recently = self
            .released_at
            .is_some_and(|at| now.duration_since(at) < RELEASE_INTERVAL);
        if still_falling || recently || !(keys_went || elements_went) {
            return false;
        }
        (self.keys_max, self.freed, self.released_at) = (keys, freed, Some(now));
        true
    }
}

/// Gives the pages that the allocator has free back to the system.
#[cfg(target_env = "gnu")]
fn release() {
    // SAFETY: takes no pointers, and may be called on any thread at any time.
    let _released = unsafe { libc::malloc_trim(0) };
}

/// Does nothing: other allocators give memory back by themselves.
#[cfg(not(target_env = "gnu"))]
fn release() {}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{MemoryRelease, RELEASE_INTERVAL};

    #[test]
    fn memory_is_released_once_much_is_gone_and_no_more_goes() {
        let mut release = MemoryRelease::default();
        let mut now = Instant::now();
        assert!(!release.is_due(1_000_000, 0, now));
        assert!(!release.is_due(900_000, 0, now), "only a tenth is gone");
        assert!(!release.is_due(500_000, 0, now), "more goes");
        assert!(release.is_due(500_000, 0, now));
        assert!(!release.is_due(500_000, 0, now), "it was released");
        assert!(
            !release.is_due(500_000, 60_000, now),
            "it was just released"
        );
        now += RELEASE_INTERVAL;
        assert!(release.is_due(500_000, 60_000, now), "a large list is gone");
        assert!(!release.is_due(500_000, 60_000, now + RELEASE_INTERVAL));
    }
}
