//! `LATENCY LATEST | HISTORY event | RESET [event …] | DOCTOR | HISTOGRAM [command …] | HELP`

use std::fmt::Write as _;

use crate::commands::replies::{help, unknown_subcommand, wrong_arity};
use crate::commands::spec::Spec;
use crate::config::Right;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "LATENCY",
    arity: -2,
    flags: &["admin", "noscript", "loading", "stale"],
    summary: "Shows when calls and commands took long.",
    arguments: "LATEST|HISTORY|RESET|DOCTOR|HISTOGRAM|HELP [event …]",
    group: "server",
    right: Some(Right::Admin),
    before_auth: false,
    run,
};

const HELP: [&str; 13] = [
    "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LATEST",
    "    Returns the last time that something took wasm.slow_call or longer, by event.",
    "HISTORY <event>",
    "    Returns the times and milliseconds that are kept of an event.",
    "RESET [<event> ...]",
    "    Forgets some events, or all.",
    "DOCTOR",
    "    Returns a report for people.",
    "HISTOGRAM [<command> ...]",
    "    Returns the calls of commands, and their mean time.",
    "HELP",
    "    This text.",
];

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let subcommand = argv[1].to_ascii_uppercase();
    match (subcommand.as_slice(), &argv[2..]) {
        (b"LATEST", []) => latest(context),
        (b"HISTORY", [event]) => history(context, event),
        (b"RESET", events) => {
            let chosen = |name: &str| {
                events.is_empty()
                    || events
                        .iter()
                        .any(|event| event.eq_ignore_ascii_case(name.as_bytes()))
            };
            let count = context.state.latency.reset(chosen);
            context.reply.count(count as u64);
        }
        (b"DOCTOR", []) => {
            let text = report(context);
            context.reply.verbatim(*b"txt", text.as_bytes());
        }
        (b"HISTOGRAM", names) => histogram(context, names),
        (b"HELP", []) => help(context.reply, &HELP),
        (b"LATEST" | b"HISTORY" | b"DOCTOR" | b"HELP", _) => {
            let name = format!("latency|{}", String::from_utf8_lossy(&subcommand));
            wrong_arity(context.reply, &name);
        }
        _ => unknown_subcommand(context.reply, SPEC.name, argv[1]),
    }
    AfterReply::KeepOpen
}

fn latest(context: &mut RequestContext<'_>) {
    let events = context.state.latency.events();
    context.reply.array(events.len());
    for (name, event) in events {
        let last = event.entries.back();
        context.reply.array(4);
        context.reply.bulk(name.as_bytes());
        context
            .reply
            .count(last.map_or(0, |entry| entry.unix_seconds));
        context.reply.count(last.map_or(0, |entry| entry.millis));
        context.reply.count(event.millis_max);
    }
}

fn history(context: &mut RequestContext<'_>, wanted: &[u8]) {
    let events = context.state.latency.events();
    let found = events
        .into_iter()
        .find(|(name, _)| wanted.eq_ignore_ascii_case(name.as_bytes()));
    let entries = found.map(|(_, event)| event.entries).unwrap_or_default();
    context.reply.array(entries.len());
    for entry in entries {
        context.reply.array(2);
        context.reply.count(entry.unix_seconds);
        context.reply.count(entry.millis);
    }
}

/// Describes the events for people, with what to look at.
fn report(context: &RequestContext<'_>) -> String {
    let threshold = context.state.live.slow_call();
    let events = context.state.latency.events();
    if threshold.is_zero() {
        return "Nothing is recorded, because wasm.slow_call is 0. Set it, for example by \
                CONFIG SET wasm.slow_call 10ms.\n"
            .to_owned();
    }
    if events.is_empty() {
        return format!("Nothing has taken {threshold:?} or longer.\n");
    }
    let mut text = format!("These have taken {threshold:?} or longer:\n\n");
    for (name, event) in events {
        let sum: u64 = event.entries.iter().map(|entry| entry.millis).sum();
        let seconds = event.entries.len().max(1) as u64;
        let mean = sum / seconds;
        let max = event.millis_max;
        let _ = writeln!(
            text,
            "{name}: {max} ms at most; {mean} ms on average over {seconds} seconds in which it occurred. {}",
            advice(name)
        );
    }
    text
}

fn advice(event: &str) -> &'static str {
    match event {
        "function" => {
            "SLOWLOG GET names the functions; WASM.PROFILE shows what they do; a long call delays no other client."
        }
        _ => "SLOWLOG GET names the commands; look for KEYS, SORT and large ranges.",
    }
}

/// Commands have no histogram: one bucket holds all calls at their mean time.
fn histogram(context: &mut RequestContext<'_>, names: &[&[u8]]) {
    let mut used = context.state.command_stats.used();
    used.retain(|(name, figures)| {
        let wanted = |word: &&[u8]| word.eq_ignore_ascii_case(name.as_bytes());
        figures.calls > 0 && (names.is_empty() || names.iter().any(wanted))
    });
    context.reply.map(used.len());
    for (name, figures) in used {
        let mean = figures.time.as_micros() / u128::from(figures.calls.max(1));
        let bucket = mean.max(1).next_power_of_two();
        context.reply.bulk(name.as_bytes());
        context.reply.map(2);
        context.reply.bulk(b"calls");
        context.reply.count(figures.calls);
        context.reply.bulk(b"histogram_usec");
        context.reply.map(1);
        context
            .reply
            .count(u64::try_from(bucket).unwrap_or(u64::MAX));
        context.reply.count(figures.calls);
    }
}
