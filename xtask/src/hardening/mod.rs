//! Runs that look for faults which the tests alone do not show.

pub(crate) mod sanitize;
pub(crate) mod soak;
