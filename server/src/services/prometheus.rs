//! Metrics in Prometheus' text format.

use std::sync::Arc;
use std::time::Duration;

use ferrite_runtime::RegisteredFunction;
use ferrite_runtime::metrics::latency_histogram::LatencyHistogram;
use ferrite_store::{DiskStatus, Store};
use ferrite_upstream::Metrics;

use crate::functions::Functions;
use crate::net::engine::Engine;
use crate::observability::command_stats::CommandFigures;
use crate::services::metrics_page::Page;
use crate::services::{automation_metrics, process_metrics, store_metrics, user_metrics};
use crate::state::ServerState;

/// Upper ends of the latency buckets, in microseconds. Three in each decade are precise enough for
/// alerts.
const BUCKETS_MICROS: [u64; 22] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000,
    200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

/// Returns the page with all metrics.
pub(crate) fn text(state: &ServerState) -> String {
    let mut page = Page::default();
    process_metrics::write(state, &mut page);
    server(state, &mut page);
    disk(state, &mut page);
    commands(state, &mut page);
    store_metrics::write(state, &mut page);
    if let Some(engine) = &state.engine {
        upstream(engine, &mut page);
    }
    if let Some(runtime) = &state.functions {
        functions(runtime, &mut page);
        automation_metrics::write(runtime, &mut page);
        compilations(runtime, &mut page);
        cache(runtime, &mut page);
    }
    page.into_text()
}

fn upstream(engine: &Engine, page: &mut Page) {
    let Metrics {
        calls,
        tries,
        round_trips,
        commits,
        commits_refused,
        commits_held_up,
        leases,
        commits_repeated,
        waits,
        misses,
        kept_hits,
        kept_misses,
        kept_invalidated,
        failures,
    } = engine.upstream.metrics();
    for (name, help, counter) in [
        ("calls", "Calls on data of the engine.", calls),
        ("tries", "Times that functions ran on it.", tries),
        (
            "round_trips",
            "Requests of calls to the engine.",
            round_trips,
        ),
        ("commits", "Commits that the engine took.", commits),
        (
            "commits_refused",
            "Commits that it refused because a key had changed.",
            commits_refused,
        ),
        (
            "commits_held_up",
            "Commits that waited because another call held their keys.",
            commits_held_up,
        ),
        (
            "leases",
            "Times that a call held its keys after several refused commits.",
            leases,
        ),
        (
            "commits_repeated",
            "Commits that were sent again because the connection broke.",
            commits_repeated,
        ),
        (
            "waits",
            "Times that a call waited for another server or for a slot to arrive.",
            waits,
        ),
        (
            "redirections",
            "Requests that a node of the cluster sent to another one.",
            engine.upstream.topology().redirections(),
        ),
        ("misses", "Tries that lacked a key or a field.", misses),
        (
            "kept_hits",
            "Keys that were found among the kept values.",
            kept_hits,
        ),
        (
            "kept_misses",
            "Keys that were not found among the kept values.",
            kept_misses,
        ),
        (
            "kept_invalidated",
            "Kept values that were removed because they may have changed.",
            kept_invalidated,
        ),
        (
            "failures",
            "Calls that failed for the engine's sake.",
            failures,
        ),
    ] {
        let name = format!("ferrite_upstream_{name}_total");
        page.single(&name, "counter", help, counter.get());
    }
    page.single(
        "ferrite_upstream_kept_bytes",
        "gauge",
        "Memory of the kept values.",
        engine.upstream.kept_bytes(),
    );
}

fn disk(state: &ServerState, page: &mut Page) {
    let Some(status) = state.store.disk_status() else {
        return;
    };
    let DiskStatus {
        failure,
        failing_for: _,
        failures,
        waiting_commits,
        waiting_bytes,
        unsynced_commits,
    } = status;
    let gauges = [
        (
            "ferrite_disk_failing",
            "1 while the disk takes no writes, else 0.",
            u64::from(failure.is_some()),
        ),
        (
            "ferrite_disk_waiting_commits",
            "Commits that are not written yet.",
            waiting_commits,
        ),
        (
            "ferrite_disk_waiting_bytes",
            "Memory of those commits.",
            waiting_bytes as u64,
        ),
        (
            "ferrite_disk_unsynced_commits",
            "Commits that are not synced yet.",
            unsynced_commits,
        ),
    ];
    for (name, help, value) in gauges {
        page.single(name, "gauge", help, value);
    }
    page.single(
        "ferrite_disk_failures_total",
        "counter",
        "Writes and syncs that failed.",
        failures,
    );
}

fn server(state: &ServerState, page: &mut Page) {
    let stats = &state.stats;
    page.single(
        "ferrite_uptime_seconds",
        "gauge",
        "Time since the start.",
        state.started.elapsed().as_secs_f64(),
    );
    page.single(
        "ferrite_connections",
        "gauge",
        "Connections now.",
        state.clients.len(),
    );
    page.single(
        "ferrite_request_memory_bytes",
        "gauge",
        "Memory of large requests that are arriving.",
        state.request_memory.bytes(),
    );
    for (name, help, counter) in [
        (
            "ferrite_connections_total",
            "Connections accepted.",
            &stats.connections,
        ),
        (
            "ferrite_connections_rejected_total",
            "Connections refused because there were too many.",
            &stats.connections_rejected,
        ),
        (
            "ferrite_connections_timed_out_total",
            "Connections closed because of an idle, stall or write timeout.",
            &stats.connections_timed_out,
        ),
        (
            "ferrite_requests_total",
            "Requests executed.",
            &stats.requests,
        ),
        (
            "ferrite_protocol_errors_total",
            "Requests that were not RESP or exceeded a limit.",
            &stats.protocol_errors,
        ),
        (
            "ferrite_input_bytes_total",
            "Bytes received.",
            &stats.input_bytes,
        ),
        (
            "ferrite_output_bytes_total",
            "Bytes sent.",
            &stats.output_bytes,
        ),
        (
            "ferrite_authentication_failures_total",
            "Wrong user names or passwords.",
            &stats.authentication_failures,
        ),
    ] {
        page.single(name, "counter", help, counter.get());
    }
}

/// A metric with a sample for each function: its name, kind and help, and the function that reads
/// its value.
type FunctionMetric = (
    &'static str,
    &'static str,
    &'static str,
    fn(&FunctionSample) -> u64,
);

/// Figures of one function.
struct FunctionSample {
    /// `{function="…"}`; names contain nothing that needs escaping.
    labels: String,
    name: String,
    stats: ferrite_runtime::metrics::function_stats::StatsSnapshot,
    running: u64,
    waiting: u64,
    idle: u64,
    idle_memory_bytes: u64,
}

const FUNCTION_METRICS: [FunctionMetric; 7] = [
    (
        "ferrite_function_calls_total",
        "counter",
        "Calls that ended.",
        |function| function.stats.calls,
    ),
    (
        "ferrite_function_fuel_total",
        "counter",
        "Fuel that calls used.",
        |function| function.stats.fuel,
    ),
    (
        "ferrite_function_retries_total",
        "counter",
        "Calls run again because others changed the same keys.",
        |function| function.stats.retries,
    ),
    (
        "ferrite_function_running",
        "gauge",
        "Calls that run.",
        |function| function.running,
    ),
    (
        "ferrite_function_waiting",
        "gauge",
        "Calls that wait for others to end.",
        |function| function.waiting,
    ),
    (
        "ferrite_function_idle_instances",
        "gauge",
        "Instances that are kept.",
        |function| function.idle,
    ),
    (
        "ferrite_function_idle_memory_bytes",
        "gauge",
        "Linear memory of instances that are kept.",
        |function| function.idle_memory_bytes,
    ),
];

fn functions(runtime: &Functions, page: &mut Page) {
    let registered = runtime.functions();
    page.single(
        "ferrite_functions",
        "gauge",
        "Functions that are loaded.",
        registered.len(),
    );
    user_metrics::write(runtime, page);
    let ready = registered
        .iter()
        .filter(|function| function.function().is_some())
        .count();
    page.single(
        "ferrite_functions_ready",
        "gauge",
        "Functions whose code is in memory.",
        ready,
    );
    // Functions that were never called are left out, because there may be thousands.
    let called: Vec<FunctionSample> = registered
        .iter()
        .map(|function| {
            let usage = function.usage();
            let memory = function
                .function()
                .map(|function| function.idle_memory_bytes());
            FunctionSample {
                labels: format!("{{function=\"{}\"}}", function.record().name.as_str()),
                name: function.record().name.as_str().to_owned(),
                stats: function.stats().snapshot(),
                running: usage.running as u64,
                waiting: usage.waiting as u64,
                idle: usage.idle as u64,
                idle_memory_bytes: memory.unwrap_or(0),
            }
        })
        .filter(|function| {
            function.stats.calls > 0 || function.stats.errors > 0 || function.running > 0
        })
        .collect();
    for (name, kind, help, value) in FUNCTION_METRICS {
        page.head(name, kind, help);
        for function in &called {
            page.sample(name, &function.labels, value(function));
        }
    }
    entries(&registered, page);
    let name = "ferrite_function_errors_total";
    page.head(
        name,
        "counter",
        "Calls and loads that failed, by the error's code.",
    );
    for function in &called {
        for (code, count) in &function.stats.errors_by_code {
            let labels = format!("{{function=\"{}\",code=\"{code}\"}}", function.name);
            page.sample(name, &labels, count);
        }
    }
    let name = "ferrite_function_latency_seconds";
    page.head(
        name,
        "histogram",
        "Time that calls took; a sample of them is measured.",
    );
    for function in &registered {
        if let Some(latency) = function.stats().latency() {
            let label = format!("function=\"{}\"", function.record().name.as_str());
            histogram(page, name, &label, latency);
        }
    }
    let background = runtime.background_calls().usage();
    page.single(
        "ferrite_background_calls",
        "gauge",
        "Calls in the background that run or wait.",
        background.pending,
    );
    page.single(
        "ferrite_background_results",
        "gauge",
        "Replies of calls in the background that are kept.",
        background.results,
    );
}

/// Writes the calls of each entry of functions that have several.
fn entries(registered: &[Arc<RegisteredFunction<Store>>], page: &mut Page) {
    let name = "ferrite_function_entry_calls_total";
    page.head(
        name,
        "counter",
        "Calls of each entry that began since the function's code was loaded, for functions with several entries.",
    );
    for registered in registered {
        let Some(function) = registered.function() else {
            continue;
        };
        for (entry, calls) in function.entry_calls() {
            if calls > 0 {
                let function = registered.record().name.as_str();
                let entry = escaped(entry);
                let labels = format!("{{function=\"{function}\",entry=\"{entry}\"}}");
                page.sample(name, &labels, calls);
            }
        }
    }
}

/// Returns the value of a label: names of entries may hold anything.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Writes the requests of each command that was used, and the errors that were replied.
fn commands(state: &ServerState, page: &mut Page) {
    type CommandMetric = (&'static str, &'static str, fn(&CommandFigures) -> f64);
    const METRICS: [CommandMetric; 3] = [
        (
            "ferrite_commands_total",
            "Requests, by command.",
            |figures| figures.calls as f64,
        ),
        (
            "ferrite_commands_failed_total",
            "Requests that replied an error, by command.",
            |figures| (figures.failed + figures.rejected) as f64,
        ),
        (
            "ferrite_commands_seconds_total",
            "Time that requests took without waits, by command; a batch shares its time.",
            |figures| figures.time.as_secs_f64(),
        ),
    ];
    let used = state.command_stats.used();
    for (name, help, value) in METRICS {
        page.head(name, "counter", help);
        for (command, figures) in &used {
            page.sample(name, &format!("{{command=\"{command}\"}}"), value(figures));
        }
    }
    let name = "ferrite_error_replies_total";
    page.head(name, "counter", "Errors that were replied, by their code.");
    for (code, count) in state.command_stats.errors() {
        page.sample(name, &format!("{{code=\"{code}\"}}"), count);
    }
}

/// Writes the number of compiled modules and the time that they took.
fn compilations(runtime: &Functions, page: &mut Page) {
    let stats = runtime.compile_stats();
    page.single(
        "ferrite_cache_found_total",
        "counter",
        "Modules whose code was in the cache.",
        stats.found(),
    );
    page.single(
        "ferrite_compile_failures_total",
        "counter",
        "Compilations that gave no code.",
        stats.failed(),
    );
    let name = "ferrite_compile_seconds";
    page.head(name, "histogram", "Time that compilations took.");
    histogram(page, name, "", stats.compiling());
}

/// Writes the samples of a histogram. `label` is `name="value"` or empty.
fn histogram(page: &mut Page, name: &str, label: &str, latency: &LatencyHistogram) {
    let comma = if label.is_empty() { "" } else { "," };
    let counts: Vec<(Duration, u64)> = latency.counts().collect();
    for end in BUCKETS_MICROS {
        let below: u64 = counts
            .iter()
            .filter(|(upper, _)| *upper <= Duration::from_micros(end))
            .map(|(_, count)| count)
            .sum();
        let end = Duration::from_micros(end).as_secs_f64();
        let labels = format!("{{{label}{comma}le=\"{end}\"}}");
        page.sample(&format!("{name}_bucket"), &labels, below);
    }
    let count: u64 = counts.iter().map(|(_, count)| count).sum();
    // Each value counts as the upper end of its fine bucket, which is at most an eighth too high.
    let sum: f64 = counts
        .iter()
        .map(|(upper, count)| {
            upper.as_secs_f64() * f64::from(u32::try_from(*count).unwrap_or(u32::MAX))
        })
        .sum();
    let labels = format!("{{{label}{comma}le=\"+Inf\"}}");
    page.sample(&format!("{name}_bucket"), &labels, count);
    let labels = match label {
        "" => String::new(),
        label => format!("{{{label}}}"),
    };
    page.sample(&format!("{name}_sum"), &labels, sum);
    page.sample(&format!("{name}_count"), &labels, count);
}

fn cache(runtime: &Functions, page: &mut Page) {
    // Reads the whole folder of the cache, which a scrape may do. If that fails, there are no figures.
    let Some(Ok(usage)) = runtime.cache().map(ferrite_cache::Cache::usage) else {
        return;
    };
    for (name, help, value) in [
        (
            "ferrite_cache_sources",
            "Sources in the cache.",
            usage.sources,
        ),
        (
            "ferrite_cache_source_bytes",
            "Their bytes.",
            usage.source_bytes,
        ),
        (
            "ferrite_cache_artifacts",
            "Artifacts in the cache.",
            usage.artifacts,
        ),
        (
            "ferrite_cache_artifact_bytes",
            "Their bytes.",
            usage.artifact_bytes,
        ),
        (
            "ferrite_cache_quarantined",
            "Damaged files set aside.",
            usage.quarantined,
        ),
    ] {
        page.single(name, "gauge", help, value);
    }
}
