//! Calls that no client makes: schedules call functions by the clock.

pub mod schedule;
