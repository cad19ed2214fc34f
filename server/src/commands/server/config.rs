//! `CONFIG GET pattern …`

use crate::commands::replies::{help, unknown_subcommand, wrong_arity};
use crate::commands::spec::Spec;
use crate::config::{EventSelection, Right};
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "CONFIG",
    arity: -2,
    flags: &["admin", "noscript", "loading", "stale"],
    summary: "Shows the configuration.",
    arguments: "GET pattern [pattern …]",
    group: "server",
    right: Some(Right::Admin),
    before_auth: false,
    run,
};

const HELP: [&str; 7] = [
    "CONFIG <subcommand> [<arg> ...]. Subcommands are:",
    "GET <pattern> [<pattern> ...]",
    "    Returns the keys that match a glob, with their values.",
    "RESETSTAT",
    "    Not supported: counters are never reset.",
    "HELP",
    "    This text.",
];

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let subcommand = argv[1].to_ascii_uppercase();
    match (subcommand.as_slice(), &argv[2..]) {
        (b"GET", patterns) if !patterns.is_empty() => get(context, patterns),
        (b"HELP", []) => help(context.reply, &HELP),
        (b"GET" | b"HELP", _) => {
            let name = format!("config|{}", String::from_utf8_lossy(&subcommand));
            wrong_arity(context.reply, &name);
        }
        (b"SET", [name, value]) if name.eq_ignore_ascii_case(NOTIFY) => notify(context, value),
        (b"SET" | b"REWRITE", _) => context.reply.error(
            "ERR the configuration cannot change while the server runs; set it by file, environment or flags",
        ),
        _ => unknown_subcommand(context.reply, SPEC.name, argv[1]),
    }
    AfterReply::KeepOpen
}

/// The parameter that chooses which events of keys clients are told of.
const NOTIFY: &[u8] = b"notify-keyspace-events";

fn notify(context: &mut RequestContext<'_>, letters: &[u8]) {
    let letters = String::from_utf8_lossy(letters);
    match EventSelection::parse(&letters) {
        Some(selection) => {
            context.state.keyspace_events.select(selection);
            context.state.store.report_events(selection.selects());
            context.reply.ok();
        }
        None => context.reply.error(format!(
            "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid \
             event class character. Use 'Ag$lshzxeKEtmdn'. It was {}",
            ferrite_runtime::error::Quoted(letters.as_bytes())
        )),
    }
}

/// Keys of Redis that tools ask for, with their values.
///
/// `redis-benchmark` and client libraries warn if they get no value.
const FOREIGN: [(&str, &str); 3] = [("save", ""), ("appendonly", "no"), ("databases", "16")];

fn get(context: &mut RequestContext<'_>, patterns: &[&[u8]]) {
    let own = context
        .state
        .config
        .settings()
        .into_iter()
        .map(|(key, value)| {
            let shown = if key.secret {
                String::new()
            } else {
                plain(&value)
            };
            (key.path(), shown)
        });
    let selection = context.state.keyspace_events.selection().to_string();
    let foreign = FOREIGN
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .chain([("notify-keyspace-events".to_owned(), selection)]);
    let found: Vec<(String, String)> = own
        .chain(foreign)
        .filter(|(name, _)| {
            patterns.iter().any(|pattern| {
                ferrite_protocol::glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes())
            })
        })
        .collect();
    context.reply.map(found.len());
    for (name, value) in found {
        context.reply.bulk(name.as_bytes());
        context.reply.bulk(value.as_bytes());
    }
}

/// Returns a value without the quotes that a file needs.
fn plain(value: &str) -> String {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
        .to_owned()
}
