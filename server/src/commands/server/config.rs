//! `CONFIG GET pattern … | SET key value … | REWRITE | RESETSTAT`

use std::io;

use ferrite_protocol::error_chain::ErrorChain;
use ferrite_runtime::error::Quoted;

use crate::commands::command_ref::CommandTable;
use crate::commands::replies::{help, unknown_subcommand, wrong_arity};
use crate::commands::server::acl::read_users;
use crate::commands::spec::Spec;
use crate::config::live::redis_names::REDIS_NAMES;
use crate::config::live::rewrite::rewrite;
use crate::config::live::{can_change, key};
use crate::config::{KeyInfo, Right, replace_file};
use crate::request::{AfterReply, RequestContext};

/// Makes the row of the command; `answer` is [`run`] with the table.
pub(in crate::commands) const fn spec(
    answer: fn(&mut RequestContext<'_>, &[&[u8]]) -> AfterReply,
) -> Spec {
    Spec {
        name: NAME,
        arity: -2,
        flags: &["admin", "noscript", "loading", "stale"],
        summary: "Shows and changes the configuration.",
        arguments: "GET|SET|REWRITE|RESETSTAT|HELP [argument …]",
        group: "server",
        right: Some(Right::Admin),
        before_auth: false,
        run: answer,
    }
}

const NAME: &str = "CONFIG";

const HELP: [&str; 11] = [
    "CONFIG <subcommand> [<arg> ...]. Subcommands are:",
    "GET <pattern> [<pattern> ...]",
    "    Returns the keys that match a glob, with their values.",
    "SET <key> <value> [<key> <value> ...]",
    "    Changes keys that can change while the server runs: all of them, or none.",
    "REWRITE",
    "    Writes the changed keys into the configuration file.",
    "RESETSTAT",
    "    Sets the counters of INFO to zero, apart from those of functions.",
    "HELP",
    "    This text.",
];

/// Runs the command. The rules of users name commands of `table`.
pub(in crate::commands) fn run(
    context: &mut RequestContext<'_>,
    argv: &[&[u8]],
    table: &CommandTable,
) -> AfterReply {
    let subcommand = argv[1].to_ascii_uppercase();
    match (subcommand.as_slice(), &argv[2..]) {
        (b"GET", patterns) if !patterns.is_empty() => get(context, patterns),
        (b"SET", pairs) if !pairs.is_empty() && pairs.len().is_multiple_of(2) => {
            match set(context, pairs, table) {
                Ok(()) => context.reply.ok(),
                Err(text) => context
                    .reply
                    .error(format!("ERR CONFIG SET failed: {text}")),
            }
        }
        (b"REWRITE", []) => match write_file(context) {
            Ok(()) => context.reply.ok(),
            Err(text) => context
                .reply
                .error(format!("ERR Rewriting config file: {text}")),
        },
        (b"RESETSTAT", []) => {
            let state = context.state;
            state.stats.reset();
            state.command_stats.reset();
            state.store.reset_figures();
            context.reply.ok();
        }
        (b"HELP", []) => help(context.reply, &HELP),
        (b"GET" | b"SET" | b"REWRITE" | b"RESETSTAT" | b"HELP", _) => {
            let name = format!("config|{}", String::from_utf8_lossy(&subcommand));
            wrong_arity(context.reply, &name);
        }
        _ => unknown_subcommand(context.reply, NAME, argv[1]),
    }
    AfterReply::KeepOpen
}

fn get(context: &mut RequestContext<'_>, patterns: &[&[u8]]) {
    let config = context.state.live.current();
    let own = config.settings().into_iter().map(|(key, value)| {
        let shown = if key.secret {
            String::new()
        } else {
            plain(&value)
        };
        (key.path(), shown)
    });
    let port = context.state.live.tcp_port();
    let foreign = REDIS_NAMES.iter().map(|row| {
        let value = match row.name {
            "port" => port.to_string(),
            _ => (row.read)(&config),
        };
        (row.name.to_owned(), value)
    });
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

/// Changes keys. Nothing has changed if it returns a text, which says what is wrong.
fn set(
    context: &mut RequestContext<'_>,
    pairs: &[&[u8]],
    table: &CommandTable,
) -> Result<(), String> {
    let mut changes: Vec<(&'static KeyInfo, String)> = Vec::new();
    for pair in pairs.chunks_exact(2) {
        let name = String::from_utf8_lossy(pair[0]).to_ascii_lowercase();
        let value = std::str::from_utf8(pair[1])
            .map_err(|_| format!("the value of {} is not UTF-8", Quoted(pair[0])))?;
        changes.extend(change(&name, value)?);
    }
    let twice = changes.iter().enumerate().find(|(at, (key, _))| {
        changes[..*at]
            .iter()
            .any(|(other, _)| std::ptr::eq(*other, *key))
    });
    if let Some((_, (key, _))) = twice {
        return Err(format!("{} is given twice", key.path()));
    }
    let state = context.state;
    let _alone = state.live.lock_changes();
    let before = state.live.current();
    let config = before.with(&changes).map_err(|error| error.to_string())?;
    let (old, new) = (&before.server, &config.server);
    let users = if new.users != old.users || new.password != old.password {
        let users = read_users(&config, table).map_err(|error| ErrorChain(&error).to_string())?;
        Some(users)
    } else {
        None
    };
    state
        .apply(config, users)
        .map_err(|error| ErrorChain(&error).to_string())?;
    for (key, value) in &changes {
        let shown = if key.secret { "…" } else { value };
        tracing::info!(
            key = key.path(),
            value = shown,
            client = context.client.id,
            peer = %context.client.peer,
            user = context.session.user_name(),
            "the configuration was changed"
        );
        state.live.note_changed(key);
    }
    Ok(())
}

/// Returns the change of one pair; `None` if the value is the only one that is possible.
fn change(name: &str, value: &str) -> Result<Option<(&'static KeyInfo, String)>, String> {
    if let Some(row) = REDIS_NAMES.iter().find(|row| row.name == name) {
        let Some(translated) = row.translate(value) else {
            return Err(match (row.key, row.reason) {
                (Some(_), _) => format!("'{name}' must be {}, not {value:?}", row.kind),
                (None, Some(reason)) => format!("'{name}' cannot be {value:?}: {reason}"),
                (None, None) => format!("'{name}' cannot be {value:?} here, and cannot change"),
            });
        };
        return Ok(row.key.and_then(key).map(|key| (key, translated)));
    }
    let Some(key) = key(name) else {
        return Err(format!("there is no key {name:?}; CONFIG GET * shows all"));
    };
    if !can_change(key) {
        return Err(format!(
            "{name} cannot change while the server runs; set it by file, environment or flags, and restart"
        ));
    }
    Ok(Some((key, value.to_owned())))
}

/// Writes the keys that were changed into the configuration file.
fn write_file(context: &RequestContext<'_>) -> Result<(), String> {
    let live = &context.state.live;
    let config = live.current();
    let Some(path) = config.file.as_deref() else {
        return Err("the server runs without a configuration file".to_owned());
    };
    let changed = live.changed();
    let changes: Vec<(&'static KeyInfo, String)> = config
        .settings()
        .into_iter()
        .filter(|(key, _)| changed.contains(&key.path()))
        .collect();
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let text = rewrite(&text, &changes).ok_or_else(|| {
        format!(
            "{}: the file has a form in which these keys cannot be set; set them by hand",
            path.display()
        )
    })?;
    replace_file(path, &text).map_err(failed)
}
