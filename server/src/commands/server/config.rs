//! `CONFIG GET pattern …`

use crate::commands::{Flow, Scope, Spec, help, unknown_subcommand, wrong_arity};
use crate::config::Right;

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
    "    Keys of the configuration and their values, by glob.",
    "RESETSTAT",
    "    Not supported: counters only grow.",
    "HELP",
    "    This text.",
];

fn run(scope: &mut Scope<'_>, argv: &[&[u8]]) -> Flow {
    let subcommand = argv[1].to_ascii_uppercase();
    match (subcommand.as_slice(), &argv[2..]) {
        (b"GET", patterns) if !patterns.is_empty() => get(scope, patterns),
        (b"HELP", []) => help(scope.reply, &HELP),
        (b"GET" | b"HELP", _) => {
            let name = format!("config|{}", String::from_utf8_lossy(&subcommand));
            wrong_arity(scope.reply, &name);
        }
        (b"SET" | b"REWRITE", _) => scope.reply.error(
            "ERR the configuration is set by file, environment and flags, and fixed while the server runs",
        ),
        _ => unknown_subcommand(scope.reply, SPEC.name, argv[1]),
    }
    Flow::Continue
}

/// Names that tools ask Redis for, and what to answer.
///
/// `redis-benchmark` and client libraries ask for these and go on more quietly with an answer.
const FOREIGN: [(&str, &str); 3] = [("save", ""), ("appendonly", "no"), ("databases", "16")];

fn get(scope: &mut Scope<'_>, patterns: &[&[u8]]) {
    let own = scope
        .host
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
    let foreign = FOREIGN
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let found: Vec<(String, String)> = own
        .chain(foreign)
        .filter(|(name, _)| {
            patterns.iter().any(|pattern| {
                ferrite_protocol::glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes())
            })
        })
        .collect();
    scope.reply.map(found.len());
    for (name, value) in found {
        scope.reply.bulk(name.as_bytes());
        scope.reply.bulk(value.as_bytes());
    }
}

/// A value without the quotes that a file needs.
fn plain(value: &str) -> String {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
        .to_owned()
}
