//! Triggers, schedules and the outbox at work: what this server serves, and the threads that call functions.

pub(crate) mod clock;
mod deliver;
pub(crate) mod duty;
