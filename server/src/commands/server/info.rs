//! `INFO [section …]`

use std::fmt::Write as _;

use ferrite_store::DatabaseUsage;

use crate::commands::{Flow, Scope, Spec};
use crate::observability::function_totals::FunctionsSum;
use crate::state::Host;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "INFO",
    arity: -1,
    flags: &["loading", "stale"],
    summary: "Tells how the server is doing.",
    arguments: "[section [section …]]",
    group: "server",
    right: None,
    before_auth: false,
    run,
};

/// A section: its name, and what writes its lines.
type Section = (&'static str, fn(&Host, &mut String));

/// Every section, in the order they are shown.
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

fn run(scope: &mut Scope<'_>, argv: &[&[u8]]) -> Flow {
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
            write(scope.host, &mut text);
        }
    }
    scope.reply.verbatim(*b"txt", text.as_bytes());
    Flow::Continue
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(text, "{name}:{value}\r\n");
}

fn server(host: &Host, text: &mut String) {
    let uptime = host.started.elapsed().as_secs();
    // Client libraries choose features by the version of Redis whose commands these are.
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

fn clients(host: &Host, text: &mut String) {
    line(text, "connected_clients", host.clients.len());
    line(text, "maxclients", host.config.server.max_connections);
    line(text, "request_memory_bytes", host.request_memory.bytes());
}

fn memory(_: &Host, text: &mut String) {
    let resident = resident_bytes();
    line(text, "used_memory", resident);
    line(text, "used_memory_rss", resident);
}

/// Memory that the process has in use, as the kernel counts it; 0 where it does not say.
pub(crate) fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

fn persistence(_: &Host, text: &mut String) {
    line(text, "loading", 0);
}

fn stats(host: &Host, text: &mut String) {
    let stats = &host.stats;
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

fn replication(_: &Host, text: &mut String) {
    line(text, "role", "master");
    line(text, "connected_slaves", 0);
}

fn wasm(host: &Host, text: &mut String) {
    let Some(runtime) = &host.functions else {
        line(text, "enabled", 0);
        return;
    };
    let sum = FunctionsSum::of(runtime);
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
    let acquired = runtime.acquire_stats();
    let compiled: u64 = acquired.compiling().counts().map(|(_, count)| count).sum();
    line(text, "compilations", compiled);
    line(text, "compilations_failed", acquired.failed());
    line(text, "found_in_cache", acquired.found());
    let background = runtime.async_calls().usage();
    line(text, "background_calls", background.pending);
    line(text, "background_results", background.results);
    line(text, "background_memory", background.result_bytes);
}

fn keyspace(host: &Host, text: &mut String) {
    for (database, usage) in host.store.usage().into_iter().enumerate() {
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
