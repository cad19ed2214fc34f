//! `INFO [section …]`

use std::fmt::Write as _;

use ferrite_store::{DatabaseUsage, DiskStatus};

use crate::commands::spec::Spec;
use crate::observability::from_outside::for_log;
use crate::observability::function_totals::FunctionTotals;
use crate::process::memory::resident_bytes;
use crate::request::{AfterReply, RequestContext};
use crate::state::ServerState;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "INFO",
    arity: -1,
    flags: &["loading", "stale"],
    summary: "Returns figures about the server.",
    arguments: "[section [section …]]",
    group: "server",
    right: None,
    before_auth: false,
    run,
};

/// A section: its name, and the function that writes its lines.
type Section = (&'static str, fn(&ServerState, &mut String));

/// Every section, in the order in which they are shown.
const SECTIONS: [Section; 8] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("Wasm", wasm),
    ("Keyspace", keyspace),
];

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let wanted = &argv[1..];
    let everything = wanted.is_empty()
        || wanted.iter().any(|name| {
            [&b"all"[..], b"default", b"everything"]
                .iter()
                .any(|word| name.eq_ignore_ascii_case(word))
        });
    let mut text = String::with_capacity(2048);
    for (name, write) in SECTIONS {
        let asked = wanted
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(name.as_bytes()));
        if everything || asked {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {name}\r\n");
            write(context.state, &mut text);
        }
    }
    context.reply.verbatim(*b"txt", text.as_bytes());
    AfterReply::KeepOpen
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(text, "{name}:{value}\r\n");
}

fn server(state: &ServerState, text: &mut String) {
    let uptime = state.started.elapsed().as_secs();
    // Client libraries choose features by this version of Redis.
    line(text, "redis_version", "7.2.0");
    line(text, "server_name", "ferrite");
    line(text, "ferrite_version", env!("CARGO_PKG_VERSION"));
    line(text, "redis_mode", "standalone");
    line(text, "os", std::env::consts::OS);
    line(text, "arch_bits", usize::BITS);
    line(text, "process_id", std::process::id());
    line(text, "uptime_in_seconds", uptime);
    line(text, "uptime_in_days", uptime / 86_400);
}

fn clients(state: &ServerState, text: &mut String) {
    line(text, "connected_clients", state.clients.len());
    line(text, "maxclients", state.connections_max);
    line(text, "request_memory_bytes", state.request_memory.bytes());
}

fn memory(_: &ServerState, text: &mut String) {
    let resident = resident_bytes();
    line(text, "used_memory", resident);
    line(text, "used_memory_rss", resident);
}

fn persistence(state: &ServerState, text: &mut String) {
    line(text, "loading", 0);
    let Some(disk) = state.store.disk_status() else {
        line(text, "aof_enabled", 0);
        return;
    };
    let DiskStatus {
        failure,
        failing_for,
        failures,
        waiting_commits,
        waiting_bytes,
        unsynced_commits,
    } = disk;
    // The names that tools for Redis read, as far as there are any.
    line(text, "aof_enabled", 1);
    let status = if failure.is_some() { "err" } else { "ok" };
    line(text, "aof_last_write_status", status);
    line(
        text,
        "disk_error",
        for_log(failure.unwrap_or_default().as_bytes()),
    );
    line(text, "disk_failing_seconds", failing_for.as_secs());
    line(text, "disk_failures", failures);
    line(text, "disk_waiting_commits", waiting_commits);
    line(text, "disk_waiting_bytes", waiting_bytes);
    line(text, "disk_unsynced_commits", unsynced_commits);
}

fn stats(state: &ServerState, text: &mut String) {
    let stats = &state.stats;
    line(text, "total_connections_received", stats.connections.get());
    line(
        text,
        "rejected_connections",
        stats.connections_rejected.get(),
    );
    line(
        text,
        "timed_out_connections",
        stats.connections_timed_out.get(),
    );
    line(text, "total_commands_processed", stats.requests.get());
    line(text, "protocol_errors", stats.protocol_errors.get());
    line(text, "total_net_input_bytes", stats.input_bytes.get());
    line(text, "total_net_output_bytes", stats.output_bytes.get());
    line(
        text,
        "acl_access_denied_auth",
        stats.authentication_failures.get(),
    );
}

fn replication(_: &ServerState, text: &mut String) {
    line(text, "role", "master");
    line(text, "connected_slaves", 0);
}

fn wasm(state: &ServerState, text: &mut String) {
    let Some(runtime) = &state.functions else {
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

fn keyspace(state: &ServerState, text: &mut String) {
    for (database, usage) in state.store.usage().into_iter().enumerate() {
        let DatabaseUsage {
            keys,
            expires,
            ttl_millis_mean,
        } = usage;
        if keys > 0 {
            line(
                text,
                &format!("db{database}"),
                format_args!("keys={keys},expires={expires},avg_ttl={ttl_millis_mean}"),
            );
        }
    }
}
