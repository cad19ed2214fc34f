//! `SLOWLOG GET [count] | LEN | RESET | HELP`

use crate::commands::replies::{help, unknown_subcommand};
use crate::commands::spec::Spec;
use crate::config::Right;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "SLOWLOG",
    arity: -2,
    flags: &["admin", "loading", "stale"],
    summary: "Shows slow calls of functions.",
    arguments: "GET|LEN|RESET|HELP [count]",
    group: "server",
    right: Some(Right::Admin),
    before_auth: false,
    run,
};

/// Calls that `GET` shows without a count, as with Redis.
const COUNT_DEFAULT: usize = 10;

const HELP: [&str; 7] = [
    "SLOWLOG <subcommand> [<arg> ...]. Subcommands are:",
    "GET [<count>]",
    "    Returns the newest calls that took wasm.slow_call or longer; -1 for all that are kept.",
    "LEN",
    "    Returns how many are kept.",
    "RESET",
    "    Removes all of them.",
];

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let subcommand = argv[1].to_ascii_uppercase();
    match (subcommand.as_slice(), &argv[2..]) {
        (b"GET", []) => get(context, COUNT_DEFAULT),
        (b"GET", [count]) => {
            let count = std::str::from_utf8(count)
                .ok()
                .and_then(|text| text.parse::<i64>().ok());
            match count {
                Some(-1) => get(context, usize::MAX),
                Some(count) if count >= 0 => {
                    get(context, usize::try_from(count).unwrap_or(usize::MAX));
                }
                _ => context
                    .reply
                    .error("ERR count should be greater than or equal to -1"),
            }
        }
        (b"LEN", []) => context.reply.count(context.state.slow_calls.len() as u64),
        (b"RESET", []) => {
            context.state.slow_calls.clear();
            context.reply.ok();
        }
        (b"HELP", []) => help(context.reply, &HELP),
        _ => unknown_subcommand(context.reply, SPEC.name, argv[1]),
    }
    AfterReply::KeepOpen
}

fn get(context: &mut RequestContext<'_>, count_max: usize) {
    let calls = context.state.slow_calls.newest(count_max);
    context.reply.array(calls.len());
    for call in calls {
        context.reply.array(6);
        context.reply.count(call.id);
        context.reply.count(call.unix_seconds);
        context
            .reply
            .count(u64::try_from(call.took.as_micros()).unwrap_or(u64::MAX));
        context.reply.array(call.words.len());
        for word in &call.words {
            context.reply.bulk(word);
        }
        context.reply.bulk(call.peer.as_bytes());
        context.reply.bulk(call.client_name.as_bytes());
    }
}
