//! What operators see: counters, metrics, the audit log, the slow log.

pub(crate) mod audit;
pub(crate) mod counters;
pub(crate) mod function_totals;
pub(crate) mod metrics_http;
pub(crate) mod prometheus;
pub(crate) mod slowlog;
