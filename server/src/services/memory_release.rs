//! Gives memory back to the system after much of the data is gone, and while the disk's tables are merged.
//!
//! The allocator keeps what is freed for later use, for each thread apart. After a flush that would be
//! almost everything, and where much is written it grows with each table that is merged. `max_memory`,
//! which looks at what the process takes up, would refuse commands for nothing.

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

/// Time between two looks at what the allocator keeps.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Bytes that the allocator must keep.
#[cfg(target_env = "gnu")]
const KEPT_MIN: usize = 16 << 20;

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
    /// The last look at what the allocator keeps.
    looked_at: Option<Instant>,
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
        let now = Instant::now();
        if self.is_due(keys, state.store.freed_in_bulk(), now) {
            tokio::task::spawn_blocking(release);
        } else if self.must_look(now) {
            tokio::task::spawn_blocking(release_much);
        }
    }

    /// Returns true if it is time to look at what the allocator keeps; the first time is over after one
    /// interval.
    fn must_look(&mut self, now: Instant) -> bool {
        let last = *self.looked_at.get_or_insert(now);
        let must = now.duration_since(last) >= LOOK_INTERVAL;
        if must {
            self.looked_at = Some(now);
        }
        must
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

/// Does the same if the allocator keeps much.
#[cfg(target_env = "gnu")]
fn release_much() {
    // SAFETY: takes nothing, and may be called on any thread at any time.
    let kept = unsafe { libc::mallinfo() }.fordblks;
    // The count is one of 32 bits, and wraps; its successor is not in the oldest libraries.
    if kept.cast_unsigned() as usize >= KEPT_MIN {
        release();
    }
}

/// Does nothing: other allocators give memory back by themselves.
#[cfg(not(target_env = "gnu"))]
fn release() {}

#[cfg(not(target_env = "gnu"))]
fn release_much() {}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{LOOK_INTERVAL, MemoryRelease, RELEASE_INTERVAL};

    #[test]
    fn what_the_allocator_keeps_is_looked_at_now_and_then() {
        let mut release = MemoryRelease::default();
        let start = Instant::now();
        assert!(!release.must_look(start));
        assert!(!release.must_look(start + LOOK_INTERVAL / 2));
        assert!(release.must_look(start + LOOK_INTERVAL));
        assert!(!release.must_look(start + LOOK_INTERVAL));
        assert!(release.must_look(start + LOOK_INTERVAL * 2));
    }

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
