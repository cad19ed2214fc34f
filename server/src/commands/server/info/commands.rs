//! The sections on commands and on the errors that were replied.

use super::{Subject, line};
use crate::observability::command_stats::CommandFigures;

pub(super) fn commandstats(subject: &Subject<'_>, text: &mut String) {
    for (name, figures) in subject.state.command_stats.used() {
        let CommandFigures {
            calls,
            failed,
            rejected,
            time,
        } = figures;
        let micros = time.as_micros();
        let per_call = time.as_nanos() as f64 / 1000.0 / calls.max(1) as f64;
        line(
            text,
            &format!("cmdstat_{name}"),
            format_args!(
                "calls={calls},usec={micros},usec_per_call={per_call:.2},rejected_calls={rejected},failed_calls={failed}"
            ),
        );
    }
}

pub(super) fn errorstats(subject: &Subject<'_>, text: &mut String) {
    for (code, count) in subject.state.command_stats.errors() {
        line(
            text,
            &format!("errorstat_{code}"),
            format_args!("count={count}"),
        );
    }
}

/// Only functions have a histogram of their latencies.
pub(super) fn latencystats(subject: &Subject<'_>, text: &mut String) {
    let Some(runtime) = &subject.state.functions else {
        return;
    };
    for function in runtime.functions() {
        let latency = function.stats().latency();
        let quantiles = latency.and_then(|latency| latency.quantiles([0.5, 0.99, 0.999]));
        if let Some([p50, p99, p999]) = quantiles {
            let micros = |time: std::time::Duration| time.as_nanos() as f64 / 1000.0;
            line(
                text,
                &format!(
                    "latency_percentiles_usec_{}",
                    function.record().name.as_str()
                ),
                format_args!(
                    "p50={:.3},p99={:.3},p99.9={:.3}",
                    micros(p50),
                    micros(p99),
                    micros(p999)
                ),
            );
        }
    }
}
