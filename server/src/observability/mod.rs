//! Figures and records for operators: counters, totals of functions, the audit log, the slow log.

pub(crate) mod audit;
pub(crate) mod counters;
pub(crate) mod from_outside;
pub(crate) mod function_totals;
pub(crate) mod log_throttle;
pub(crate) mod slowlog;
