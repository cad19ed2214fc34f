//! Work that no client asks for: schedules call functions by the clock, triggers after events of keys, and the
//! outbox sends the requests that calls have committed.

pub(crate) mod bytes;
pub(crate) mod clock;
pub mod declared;
pub mod figures;
pub(crate) mod number;
pub(crate) mod outbox;
pub(crate) mod reply;
pub mod schedule;
pub mod trigger;
