//! Metrics in Prometheus' text format.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use ferrite_runtime::metrics::latency_histogram::LatencyHistogram;
use ferrite_store::DiskStatus;

use crate::functions::Functions;
use crate::process::memory::resident_bytes;
use crate::state::ServerState;

/// Upper ends of the latency buckets, in microseconds. Three in each decade are precise enough for
/// alerts.
const BUCKETS_MICROS: [u64; 22] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000,
    200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

/// Returns the page with all metrics.
pub(crate) fn text(state: &ServerState) -> String {
    let mut page = Page(String::with_capacity(8 * 1024));
    server(state, &mut page);
    disk(state, &mut page);
    if let Some(runtime) = &state.functions {
        functions(runtime, &mut page);
        compilations(runtime, &mut page);
        cache(runtime, &mut page);
    }
    page.0
}

/// The page while it is written.
struct Page(String);

impl Page {
    /// Writes the name, kind and help of a metric; its samples follow.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// Writes a metric with one sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, "", value);
    }
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
    page.head("ferrite_info", "gauge", "The server's version.");
    page.sample(
        "ferrite_info",
        concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"),
        1,
    );
    page.single(
        "ferrite_uptime_seconds",
        "gauge",
        "Time since the start.",
        state.started.elapsed().as_secs_f64(),
    );
    page.single(
        "ferrite_resident_memory_bytes",
        "gauge",
        "Memory that the process has in use.",
        resident_bytes(),
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
            let usage = function
                .function()
                .map(|function| function.usage())
                .unwrap_or_default();
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
        "How long calls took; a sample of them is measured.",
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
    page.head(name, "histogram", "How long compilations took.");
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
