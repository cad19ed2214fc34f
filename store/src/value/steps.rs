//! Counts elementary steps on values, for the test that compares them with what commands charge.
//!
//! A step is what takes some nanoseconds: visiting a node or an element of a tree, or going through
//! 64 bytes. Only tests count.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the steps for going through `bytes` bytes.
#[inline]
pub(crate) fn bytes(bytes: usize) {
    count(1 + bytes / 64);
}

/// Counts `steps` steps.
#[cfg(test)]
pub(crate) fn count(steps: usize) {
    STEPS.set(STEPS.get() + steps as u64);
}

/// Counts nothing.
#[cfg(not(test))]
#[inline]
pub(crate) fn count(_steps: usize) {}

/// Returns the steps of this thread since the last time.
#[cfg(test)]
pub(crate) fn take() -> u64 {
    STEPS.take()
}
