//! `MEMORY USAGE key [SAMPLES count] | STATS | DOCTOR | PURGE | MALLOC-STATS | HELP`

use crate::commands::replies::{help, unknown_subcommand, wrong_arity};
use crate::commands::spec::Spec;
use crate::config::Right;
use crate::observability::function_totals::FunctionTotals;
use crate::process::figures::{ProcessFigures, machine_memory_bytes};
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "MEMORY",
    arity: -2,
    flags: &["readonly", "movablekeys"],
    summary: "Shows the memory of a key, and of the server.",
    arguments: "USAGE|STATS|DOCTOR|PURGE|MALLOC-STATS|HELP [key [SAMPLES count]]",
    group: "server",
    right: Some(Right::Read),
    before_auth: false,
    run,
};

const HELP: [&str; 13] = [
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Returns a report for people.",
    "MALLOC-STATS",
    "    Returns nothing of use: the system's allocator is not asked.",
    "PURGE",
    "    Drops instances of functions that are idle.",
    "STATS",
    "    Returns the memory of the server by its use.",
    "USAGE <key> [SAMPLES <count>]",
    "    Returns an estimate of the bytes that a key and its value take. Of a collection, <count>",
    "    elements are looked at (default 5; 0 for all).",
    "HELP",
];

/// Elements of a collection that are looked at without `SAMPLES`, as with Redis.
const SAMPLES_DEFAULT: usize = 5;

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let subcommand = argv[1].to_ascii_uppercase();
    match (subcommand.as_slice(), &argv[2..]) {
        (b"USAGE", [key]) => usage(context, key, SAMPLES_DEFAULT),
        (b"USAGE", [key, word, count]) if word.eq_ignore_ascii_case(b"SAMPLES") => {
            let count = std::str::from_utf8(count)
                .ok()
                .and_then(|text| text.parse().ok());
            match count {
                Some(0) => usage(context, key, usize::MAX),
                Some(count) => usage(context, key, count),
                None => context
                    .reply
                    .error("ERR value is not an integer or out of range"),
            }
        }
        (b"USAGE", [_, ..]) => context.reply.error("ERR syntax error"),
        (b"STATS", []) => stats(context),
        (b"DOCTOR", []) => {
            let text = report(context);
            context.reply.verbatim(*b"txt", text.as_bytes());
        }
        (b"PURGE", []) => {
            if let Some(runtime) = &context.state.functions {
                for registered in runtime.functions() {
                    if let Some(function) = registered.function() {
                        function.drain();
                    }
                }
            }
            context.reply.ok();
        }
        (b"MALLOC-STATS", []) => context
            .reply
            .bulk(b"the system's allocator is not asked for figures"),
        (b"HELP", []) => help(context.reply, &HELP),
        (b"USAGE" | b"STATS" | b"DOCTOR" | b"PURGE" | b"MALLOC-STATS" | b"HELP", _) => {
            let name = format!("memory|{}", String::from_utf8_lossy(&subcommand));
            wrong_arity(context.reply, &name);
        }
        _ => unknown_subcommand(context.reply, SPEC.name, argv[1]),
    }
    AfterReply::KeepOpen
}

fn usage(context: &mut RequestContext<'_>, key: &[u8], samples: usize) {
    let database = context.session.store.database();
    match context.state.store.memory_usage(database, key, samples) {
        Some(bytes) => context.reply.count(bytes as u64),
        None => context.reply.null(),
    }
}

fn stats(context: &mut RequestContext<'_>) {
    let state = context.state;
    let figures = ProcessFigures::read();
    let idle = state
        .functions
        .as_ref()
        .map_or(0, |runtime| FunctionTotals::of(runtime).idle_memory_bytes);
    let keys: usize = state.store.usage().iter().map(|usage| usage.keys).sum();
    let used = figures.resident_bytes;
    let overhead = state.memory_at_start + idle;
    let dataset = used.saturating_sub(overhead);
    let rows = [
        ("peak.allocated", figures.resident_bytes_peak),
        ("total.allocated", used),
        ("startup.allocated", state.memory_at_start),
        ("clients.normal", state.request_memory.bytes()),
        ("functions.caches", idle),
        ("overhead.total", overhead),
        ("keys.count", keys as u64),
        ("keys.bytes-per-key", dataset / (keys as u64).max(1)),
        ("dataset.bytes", dataset),
    ];
    context.reply.map(rows.len());
    for (name, value) in rows {
        context.reply.bulk(name.as_bytes());
        context.reply.count(value);
    }
}

/// Describes the server's memory for people.
fn report(context: &RequestContext<'_>) -> String {
    let figures = ProcessFigures::read();
    let (used, machine) = (figures.resident_bytes, machine_memory_bytes());
    let max = context.state.live.max_memory();
    if max > 0 && used > max {
        return format!(
            "The process uses {used} bytes, more than server.max_memory allows ({max}): commands that need more memory are refused. Delete keys, or raise it.\n"
        );
    }
    if machine > 0 && used > machine / 10 * 9 {
        return format!(
            "The process uses {used} of the machine's {machine} bytes. Set server.max_memory, or the system may kill the process.\n"
        );
    }
    format!("The process uses {used} bytes, and nothing is wrong with that.\n")
}
