//! The instant at which an entry expires.

use std::cmp::Ordering;

/// An instant in milliseconds since the Unix epoch, or never. Never is above every instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(i64);

impl Deadline {
    /// Stored as the lowest number, which as an instant passed long ago.
    pub(crate) const NEVER: Self = Self(i64::MIN);

    pub(crate) fn at(millis: i64) -> Self {
        Self(millis.max(i64::MIN + 1))
    }

    pub(crate) fn is_never(self) -> bool {
        self == Self::NEVER
    }

    pub(crate) fn millis(self) -> Option<i64> {
        (!self.is_never()).then_some(self.0)
    }

    /// Returns true if an entry with this deadline has expired at `now`: it lives through the
    /// millisecond of its deadline, as in Valkey.
    pub(crate) fn has_passed(self, now: i64) -> bool {
        self.0 < now && !self.is_never()
    }

    /// Returns true if it is not after `now`: an entry that would get this deadline ends at once.
    pub(crate) fn is_reached(self, now: i64) -> bool {
        self.0 <= now && !self.is_never()
    }
}

impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> Ordering {
        // Moves the lowest number, never, to the top, and keeps the order of the rest.
        self.0.wrapping_sub(1).cmp(&other.0.wrapping_sub(1))
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::Deadline;

    #[test]
    fn never_is_above_every_instant_and_does_not_pass() {
        let instants = [i64::MIN, -1, 0, i64::MAX].map(Deadline::at);
        assert!(instants.is_sorted());
        assert!(instants.iter().all(|instant| *instant < Deadline::NEVER));
        assert!(instants.iter().all(|instant| instant.is_reached(i64::MAX)));
        assert!(!Deadline::NEVER.has_passed(i64::MAX));
        assert!(!Deadline::NEVER.is_reached(i64::MAX));
        for (now, passed, reached) in [(0, false, false), (1, false, true), (2, true, true)] {
            assert_eq!(Deadline::at(1).has_passed(now), passed);
            assert_eq!(Deadline::at(1).is_reached(now), reached);
        }
    }
}
