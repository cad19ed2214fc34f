//! Counters and histograms of calls, compilations and host functions.

pub(crate) mod compile_stats;
pub mod function_stats;
pub mod host_calls;
pub mod latency_histogram;
