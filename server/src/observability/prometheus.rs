//! Metrics in Prometheus' text format.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use ferrite_runtime::metrics::latency_histogram::LatencyHistogram;

use crate::commands::resident_bytes;
use crate::functions::Functions;
use crate::state::Host;

/// Upper ends of the latency buckets, in microseconds: a hundredth of a bucket of the next decade
/// never matters to an alert, so three a decade do.
const BUCKETS_MICROS: [u64; 22] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000,
    200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

/// Everything there is to tell.
pub(crate) fn text(host: &Host) -> String {
    let mut page = Page(String::with_capacity(8 * 1024));
    server(host, &mut page);
    if let Some(runtime) = &host.functions {
        functions(runtime, &mut page);
        compilations(runtime, &mut page);
        cache(runtime, &mut page);
    }
    page.0
}

/// The page while it is written.
struct Page(String);

impl Page {
    /// Says what the samples that follow are.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// A metric with one sample.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, "", value);
    }
}

fn server(host: &Host, page: &mut Page) {
    let stats = &host.stats;
    page.head("ferrite_info", "gauge", "The server's version.");
    page.sample(
        "ferrite_info",
        concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"),
        1,
    );
    page.one(
        "ferrite_uptime_seconds",
        "gauge",
        "Time since the start.",
        host.started.elapsed().as_secs_f64(),
    );
    page.one(
        "ferrite_resident_memory_bytes",
        "gauge",
        "Memory that the process has in use.",
        resident_bytes(),
    );
    page.one(
        "ferrite_connections",
        "gauge",
        "Connections now.",
        host.clients.len(),
    );
    page.one(
        "ferrite_request_memory_bytes",
        "gauge",
        "Memory of large requests that are arriving.",
        host.request_memory.bytes(),
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
            "Connections ended because they were idle, stalled or took no replies.",
            &stats.connections_timed_out,
        ),
        (
            "ferrite_requests_total",
            "Requests executed.",
            &stats.requests,
        ),
        (
            "ferrite_protocol_errors_total",
            "Requests that were not RESP, or past a bound.",
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
        page.one(name, "counter", help, counter.get());
    }
}

/// A metric with a sample for each function: its name, kind and help, and where the value is.
type PerFunction = (
    &'static str,
    &'static str,
    &'static str,
    fn(&OneFunction) -> u64,
);

/// What is told of one function.
struct OneFunction {
    /// `{function="…"}`; names hold nothing that needs escaping.
    labels: String,
    name: String,
    stats: ferrite_runtime::metrics::function_stats::StatsSnapshot,
    running: u64,
    waiting: u64,
    idle: u64,
    idle_memory_bytes: u64,
}

const PER_FUNCTION: [PerFunction; 7] = [
    (
        "ferrite_function_calls_total",
        "counter",
        "Calls that ended.",
        |one| one.stats.calls,
    ),
    (
        "ferrite_function_fuel_total",
        "counter",
        "Fuel that calls used.",
        |one| one.stats.fuel,
    ),
    (
        "ferrite_function_retries_total",
        "counter",
        "Calls run again because others changed the same keys.",
        |one| one.stats.retries,
    ),
    (
        "ferrite_function_running",
        "gauge",
        "Calls that run.",
        |one| one.running,
    ),
    (
        "ferrite_function_waiting",
        "gauge",
        "Calls that wait for others to end.",
        |one| one.waiting,
    ),
    (
        "ferrite_function_idle_instances",
        "gauge",
        "Instances that are kept.",
        |one| one.idle,
    ),
    (
        "ferrite_function_idle_memory_bytes",
        "gauge",
        "Linear memory of instances that are kept.",
        |one| one.idle_memory_bytes,
    ),
];

fn functions(runtime: &Functions, page: &mut Page) {
    let registered = runtime.functions();
    page.one(
        "ferrite_functions",
        "gauge",
        "Functions that are loaded.",
        registered.len(),
    );
    let ready = registered
        .iter()
        .filter(|one| one.function().is_some())
        .count();
    page.one(
        "ferrite_functions_ready",
        "gauge",
        "Functions whose code is in memory.",
        ready,
    );
    // A function that was never called has nothing to tell, and there may be thousands.
    let told: Vec<OneFunction> = registered
        .iter()
        .map(|one| {
            let usage = one
                .function()
                .map(|function| function.usage())
                .unwrap_or_default();
            let memory = one.function().map(|function| function.idle_memory_bytes());
            OneFunction {
                labels: format!("{{function=\"{}\"}}", one.record().name.as_str()),
                name: one.record().name.as_str().to_owned(),
                stats: one.stats().snapshot(),
                running: usage.running as u64,
                waiting: usage.waiting as u64,
                idle: usage.idle as u64,
                idle_memory_bytes: memory.unwrap_or(0),
            }
        })
        .filter(|one| one.stats.calls > 0 || one.stats.errors > 0 || one.running > 0)
        .collect();
    for (name, kind, help, value) in PER_FUNCTION {
        page.head(name, kind, help);
        for one in &told {
            page.sample(name, &one.labels, value(one));
        }
    }
    let name = "ferrite_function_errors_total";
    page.head(
        name,
        "counter",
        "Calls and loads that failed, by the error's code.",
    );
    for one in &told {
        for (code, count) in &one.stats.errors_by_code {
            let labels = format!("{{function=\"{}\",code=\"{code}\"}}", one.name);
            page.sample(name, &labels, count);
        }
    }
    let name = "ferrite_function_latency_seconds";
    page.head(
        name,
        "histogram",
        "How long calls took; a sample of them is measured.",
    );
    for one in &registered {
        if let Some(latency) = one.stats().latency() {
            let label = format!("function=\"{}\"", one.record().name.as_str());
            histogram(page, name, &label, latency);
        }
    }
    let background = runtime.async_calls().usage();
    page.one(
        "ferrite_background_calls",
        "gauge",
        "Calls in the background that run or wait.",
        background.pending,
    );
    page.one(
        "ferrite_background_results",
        "gauge",
        "Replies of calls in the background that are kept.",
        background.results,
    );
}

/// Code that was compiled, and how long that took.
fn compilations(runtime: &Functions, page: &mut Page) {
    let stats = runtime.acquire_stats();
    page.one(
        "ferrite_cache_found_total",
        "counter",
        "Modules whose code was in the cache.",
        stats.found(),
    );
    page.one(
        "ferrite_compile_failures_total",
        "counter",
        "Compilations that gave no code.",
        stats.failed(),
    );
    let name = "ferrite_compile_seconds";
    page.head(name, "histogram", "How long compilations took.");
    histogram(page, name, "", stats.compiling());
}

/// The samples of a histogram; `label` is `name="value"`, or nothing.
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
    // Each is counted at the upper end of its fine bucket, which is off by an eighth at most.
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
    // It walks the cache's folder, which is worth it once in a scrape, and no error of ours.
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
        page.one(name, "gauge", help, value);
    }
}
