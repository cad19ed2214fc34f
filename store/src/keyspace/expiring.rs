//! When an entry ends.

/// An instant in milliseconds since the Unix epoch, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(i64);

impl Deadline {
    /// Compares above every instant.
    pub(crate) const NEVER: Self = Self(i64::MAX);

    pub(crate) fn at(millis: i64) -> Self {
        Self(millis)
    }

    pub(crate) fn is_never(self) -> bool {
        self == Self::NEVER
    }

    pub(crate) fn millis(self) -> Option<i64> {
        (!self.is_never()).then_some(self.0)
    }

    /// Whether an entry with this deadline is gone at `now`.
    pub(crate) fn has_passed(self, now: i64) -> bool {
        self.0 <= now && !self.is_never()
    }
}
