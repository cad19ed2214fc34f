//! `SLOWLOG GET [count] | LEN | RESET | HELP`

use crate::commands::{Flow, Scope, Spec, help, unknown_subcommand};
use crate::config::Right;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "SLOWLOG",
    arity: -2,
    flags: &["admin", "loading", "stale"],
    summary: "Shows the calls of functions that took long.",
    arguments: "GET|LEN|RESET|HELP [count]",
    group: "server",
    right: Some(Right::Admin),
    before_auth: false,
    run,
};

/// How many calls `GET` shows unasked, as with Redis.
const COUNT_DEFAULT: usize = 10;

const HELP: [&str; 7] = [
    "SLOWLOG <subcommand> [<arg> ...]. Subcommands are:",
    "GET [<count>]",
    "    The newest calls that took longer than wasm.slow_call; -1 for all that are kept.",
    "LEN",
    "    How many are kept.",
    "RESET",
    "    Forgets them.",
];

fn run(scope: &mut Scope<'_>, argv: &[&[u8]]) -> Flow {
    let subcommand = argv[1].to_ascii_uppercase();
    match (subcommand.as_slice(), &argv[2..]) {
        (b"GET", []) => get(scope, COUNT_DEFAULT),
        (b"GET", [count]) => {
            let count = std::str::from_utf8(count)
                .ok()
                .and_then(|text| text.parse::<i64>().ok());
            match count {
                Some(-1) => get(scope, usize::MAX),
                Some(count) if count >= 0 => {
                    get(scope, usize::try_from(count).unwrap_or(usize::MAX));
                }
                _ => scope
                    .reply
                    .error("ERR count should be greater than or equal to -1"),
            }
        }
        (b"LEN", []) => scope.reply.count(scope.host.slow_calls.len() as u64),
        (b"RESET", []) => {
            scope.host.slow_calls.clear();
            scope.reply.ok();
        }
        (b"HELP", []) => help(scope.reply, &HELP),
        _ => unknown_subcommand(scope.reply, SPEC.name, argv[1]),
    }
    Flow::Continue
}

fn get(scope: &mut Scope<'_>, count_max: usize) {
    let calls = scope.host.slow_calls.newest(count_max);
    scope.reply.array(calls.len());
    for call in calls {
        scope.reply.array(6);
        scope.reply.count(call.id);
        scope.reply.count(call.unix_seconds);
        scope
            .reply
            .count(u64::try_from(call.took.as_micros()).unwrap_or(u64::MAX));
        scope.reply.array(call.words.len());
        for word in &call.words {
            scope.reply.bulk(word);
        }
        scope.reply.bulk(call.peer.as_bytes());
        scope.reply.bulk(call.client_name.as_bytes());
    }
}
