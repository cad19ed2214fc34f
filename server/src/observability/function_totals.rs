//! Figures of all functions together.

use crate::functions::Functions;

/// The sums of all functions' figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FunctionTotals {
    /// Functions that are loaded.
    pub(crate) functions: usize,
    /// Functions whose code is in memory.
    pub(crate) ready: usize,
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    /// Idle instances, or buffers of past calls, that are kept.
    pub(crate) idle: usize,
    pub(crate) idle_memory_bytes: u64,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) fuel: u64,
    pub(crate) retries: u64,
}

impl FunctionTotals {
    pub(crate) fn of(runtime: &Functions) -> Self {
        let mut sum = Self::default();
        for registered in runtime.functions() {
            sum.functions += 1;
            let usage = registered.usage();
            sum.running += usage.running;
            sum.waiting += usage.waiting;
            sum.idle += usage.idle;
            if let Some(function) = registered.function() {
                sum.ready += 1;
                sum.idle_memory_bytes += function.idle_memory_bytes();
            }
            let stats = registered.stats().snapshot();
            sum.calls += stats.calls;
            sum.errors += stats.errors;
            sum.fuel += stats.fuel;
            sum.retries += stats.retries;
        }
        sum
    }
}
