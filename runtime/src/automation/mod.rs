//! Calls that no client makes: schedules call functions by the clock, triggers after events of keys.

pub(crate) mod bytes;
pub(crate) mod clock;
pub mod figures;
pub(crate) mod reply;
pub mod schedule;
pub mod trigger;
