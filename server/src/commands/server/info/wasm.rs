//! The section on functions.

use super::{Subject, line};
use crate::observability::function_totals::FunctionTotals;

pub(super) fn wasm(subject: &Subject<'_>, text: &mut String) {
    let Some(runtime) = &subject.state.functions else {
        line(text, "enabled", 0);
        return;
    };
    let sum = FunctionTotals::of(runtime);
    line(text, "enabled", 1);
    line(text, "functions", sum.functions);
    line(text, "functions_ready", sum.ready);
    line(text, "running_calls", sum.running);
    line(text, "waiting_calls", sum.waiting);
    line(text, "idle_instances", sum.idle);
    line(text, "idle_memory", sum.idle_memory_bytes);
    line(text, "calls", sum.calls);
    line(text, "errors", sum.errors);
    line(text, "fuel", sum.fuel);
    line(text, "retries", sum.retries);
    let acquired = runtime.compile_stats();
    let compiled: u64 = acquired.compiling().counts().map(|(_, count)| count).sum();
    line(text, "compilations", compiled);
    line(text, "compilations_failed", acquired.failed());
    line(text, "found_in_cache", acquired.found());
    let background = runtime.background_calls().usage();
    line(text, "background_calls", background.pending);
    line(text, "background_results", background.results);
    line(text, "background_memory", background.result_bytes);
}
