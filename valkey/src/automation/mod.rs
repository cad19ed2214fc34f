//! Triggers and schedules at work: which of them this server serves, and the threads that call functions.

pub(crate) mod clock;
mod deliver;
mod duty;
