//! The sections on the process: server, memory, processor time.

use super::{Subject, human, line};
use crate::process::figures::{ProcessFigures, machine_memory_bytes};

pub(super) fn server(subject: &Subject<'_>, text: &mut String) {
    let state = subject.state;
    let uptime = state.started.elapsed().as_secs();
    // Client libraries choose features by this version of Redis.
    line(text, "redis_version", "7.2.0");
    line(text, "server_name", "ferrite");
    line(text, "ferrite_version", env!("CARGO_PKG_VERSION"));
    line(text, "redis_mode", "standalone");
    line(text, "server_mode", "standalone");
    line(text, "os", os());
    line(text, "arch_bits", usize::BITS);
    line(text, "monotonic_clock", "POSIX clock_gettime");
    line(text, "multiplexing_api", "epoll");
    line(text, "process_id", std::process::id());
    line(text, "process_supervised", "no");
    line(text, "run_id", &state.run_id);
    line(text, "tcp_port", state.live.tcp_port());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_micros());
    line(text, "server_time_usec", now);
    line(text, "uptime_in_seconds", uptime);
    line(text, "uptime_in_days", uptime / 86_400);
    line(text, "hz", 10);
    line(text, "configured_hz", 10);
    let executable = std::env::current_exe().unwrap_or_default();
    line(text, "executable", executable.display());
    let file = state.config.file.as_deref();
    let file = file.map(|file| file.display().to_string());
    line(text, "config_file", file.unwrap_or_default());
}

/// Returns the name and version of the system, as `uname` gives them.
fn os() -> String {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        text.unwrap_or_default().trim().to_owned()
    };
    let machine = std::env::consts::ARCH;
    format!("{} {} {machine}", read("ostype"), read("osrelease"))
}

pub(super) fn memory(subject: &Subject<'_>, text: &mut String) {
    let state = subject.state;
    let figures = ProcessFigures::read();
    let machine = machine_memory_bytes();
    let max = state.live.max_memory();
    // The system's allocator is not asked what it has handed out: that would stop it for too long.
    let used = figures.resident_bytes;
    for (name, bytes) in [
        ("used_memory", used),
        ("used_memory_rss", figures.resident_bytes),
        ("used_memory_peak", figures.resident_bytes_peak),
    ] {
        line(text, name, bytes);
        line(text, &format!("{name}_human"), human(bytes));
    }
    let peak = figures.resident_bytes_peak.max(1);
    let percentage = used as f64 * 100.0 / peak as f64;
    line(
        text,
        "used_memory_peak_perc",
        format_args!("{percentage:.2}%"),
    );
    let functions = state.functions.as_ref();
    let idle = functions.map_or(0, |runtime| {
        crate::observability::function_totals::FunctionTotals::of(runtime).idle_memory_bytes
    });
    line(text, "used_memory_startup", state.memory_at_start);
    let dataset = used
        .saturating_sub(state.memory_at_start)
        .saturating_sub(idle);
    line(text, "used_memory_dataset", dataset);
    line(text, "used_memory_functions", idle);
    line(text, "used_memory_lua", 0);
    line(text, "used_memory_scripts", 0);
    line(text, "number_of_cached_scripts", 0);
    line(
        text,
        "number_of_functions",
        functions.map_or(0, |runtime| runtime.functions().len()),
    );
    line(text, "total_system_memory", machine);
    line(text, "total_system_memory_human", human(machine));
    line(text, "maxmemory", max);
    line(text, "maxmemory_human", human(max));
    line(text, "maxmemory_policy", "noeviction");
    line(text, "mem_fragmentation_ratio", "1.00");
    line(text, "mem_clients_normal", state.request_memory.bytes());
    line(text, "mem_allocator", "libc");
    line(text, "active_defrag_running", 0);
    line(text, "lazyfree_pending_objects", 0);
}

pub(super) fn threads(_: &Subject<'_>, text: &mut String) {
    line(text, "threads", ProcessFigures::read().threads);
}

pub(super) fn cpu(_: &Subject<'_>, text: &mut String) {
    let figures = ProcessFigures::read();
    for (name, seconds) in [
        ("used_cpu_sys", figures.system_seconds),
        ("used_cpu_user", figures.user_seconds),
    ] {
        line(text, name, format_args!("{seconds:.6}"));
    }
}

/// There are no modules: functions take their place.
pub(super) fn modules(_: &Subject<'_>, _: &mut String) {}

pub(super) fn cluster(_: &Subject<'_>, text: &mut String) {
    line(text, "cluster_enabled", 0);
}
