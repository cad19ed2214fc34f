//! Schedules: functions that are called by the clock.

pub(crate) mod record;
pub(crate) mod table;
pub mod when;
