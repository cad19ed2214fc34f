//! Metrics of the process, under the names that Prometheus' own libraries use.

use ferrite_cache::Profile;

use crate::process::figures::ProcessFigures;
use crate::services::metrics_page::Page;
use crate::state::ServerState;

pub(super) fn write(state: &ServerState, page: &mut Page) {
    let figures = ProcessFigures::read();
    page.head(
        "ferrite_build_info",
        "gauge",
        "Always 1; its labels are the server's version and the profile of its native code.",
    );
    let labels = format!(
        "{{version=\"{}\",profile=\"{}\"}}",
        env!("CARGO_PKG_VERSION"),
        Profile::native().fingerprint()
    );
    page.sample("ferrite_build_info", &labels, 1);
    page.single(
        "process_cpu_seconds_total",
        "counter",
        "Processor time in user mode and in the kernel.",
        figures.user_seconds + figures.system_seconds,
    );
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Memory that the process has in use.",
            figures.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Address space; each instance of a function reserves 4 GiB of it.",
            figures.virtual_bytes,
        ),
        (
            "process_open_fds",
            "Open files and connections.",
            figures.open_files,
        ),
        (
            "process_max_fds",
            "Most open files and connections.",
            figures.open_files_max,
        ),
        ("process_threads", "Threads.", figures.threads),
        (
            "process_start_time_seconds",
            "Start of the process, in seconds since 1970.",
            state.started_unix,
        ),
        (
            "ferrite_memory_max_bytes",
            "Memory above which commands that need more are refused; 0 for no limit.",
            state.live.max_memory(),
        ),
    ] {
        page.single(name, "gauge", help, value);
    }
}
