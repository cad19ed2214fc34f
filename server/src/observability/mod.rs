//! Figures and records for operators: counters, totals of functions, the audit log, the slow log.

pub(crate) mod acl_log;
pub(crate) mod audit;
pub(crate) mod backups;
pub(crate) mod command_stats;
pub(crate) mod counters;
pub(crate) mod from_outside;
pub(crate) mod function_totals;
pub(crate) mod latency;
pub(crate) mod log_throttle;
pub(crate) mod rates;
pub(crate) mod slowlog;
