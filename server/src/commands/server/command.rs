//! `COMMAND [subcommand …]`

use ferrite_protocol::resp::Encoder;

use crate::commands::command_ref::CommandTable;
use crate::commands::docs::catalog::{self, Entry};
use crate::commands::docs::usage;
use crate::commands::replies::{help, unknown_subcommand, wrong_arity};
use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

const NAME: &str = "COMMAND";

/// Returns the command, which `answer` runs: it needs the table that it stands in itself.
pub(in crate::commands) const fn spec(
    answer: fn(&mut RequestContext<'_>, &[&[u8]]) -> AfterReply,
) -> Spec {
    Spec {
        name: NAME,
        arity: -1,
        flags: &["loading", "stale"],
        summary: "Lists the commands and describes them.",
        arguments: "[COUNT|LIST|INFO|DOCS|GETKEYS|HELP [argument …]]",
        group: "server",
        right: None,
        before_auth: false,
        run: answer,
    }
}

const HELP: [&str; 13] = [
    "COMMAND <subcommand> [<arg> ...]. Subcommands are:",
    "(no subcommand)",
    "    Describes every command.",
    "COUNT",
    "    Returns the number of commands.",
    "LIST [FILTERBY PATTERN <pattern>]",
    "    Returns the names of commands.",
    "INFO [<name> ...]",
    "    Describes these commands.",
    "DOCS [<name> ...]",
    "    Returns the documentation of these commands.",
    "GETKEYS <command> [<arg> ...]",
    "    Returns the keys of a request.",
];

pub(in crate::commands) fn run(
    context: &mut RequestContext<'_>,
    argv: &[&[u8]],
    table: &CommandTable,
) -> AfterReply {
    let Some(subcommand) = argv.get(1) else {
        write_all(context, table);
        return AfterReply::KeepOpen;
    };
    let subcommand = subcommand.to_ascii_uppercase();
    match (subcommand.as_slice(), &argv[2..]) {
        (b"COUNT", []) => context
            .reply
            .count(catalog::all(context.state, table).count() as u64),
        (b"LIST", options) => list(context, options, table),
        (b"INFO", []) => write_all(context, table),
        (b"INFO", names) => {
            context.reply.array(names.len());
            for name in names {
                match catalog::find(context.state, table, name) {
                    Some(entry) => info(context.reply, &entry),
                    None => context.reply.null_array(),
                }
            }
        }
        (b"DOCS", names) => {
            let entries: Vec<Entry> = match names {
                [] => catalog::all(context.state, table).collect(),
                names => names
                    .iter()
                    .filter_map(|name| catalog::find(context.state, table, name))
                    .collect(),
            };
            context.reply.map(entries.len());
            for entry in &entries {
                docs(context.reply, entry);
            }
        }
        (b"GETKEYS", request) if !request.is_empty() => get_keys(context.reply, request, table),
        (b"HELP", []) => help(context.reply, &HELP),
        (b"COUNT" | b"GETKEYS" | b"HELP", _) => {
            let name = format!("command|{}", String::from_utf8_lossy(&subcommand));
            wrong_arity(context.reply, &name);
        }
        _ => unknown_subcommand(context.reply, NAME, argv[1]),
    }
    AfterReply::KeepOpen
}

/// Writes an array of every command.
fn write_all(context: &mut RequestContext<'_>, table: &CommandTable) {
    let entries: Vec<Entry> = catalog::all(context.state, table).collect();
    context.reply.array(entries.len());
    for entry in &entries {
        info(context.reply, entry);
    }
}

fn list(context: &mut RequestContext<'_>, options: &[&[u8]], table: &CommandTable) {
    let pattern = match options {
        [] => b"*".to_vec(),
        [filter, pattern, glob]
            if filter.eq_ignore_ascii_case(b"FILTERBY")
                && pattern.eq_ignore_ascii_case(b"PATTERN") =>
        {
            glob.to_ascii_lowercase()
        }
        [filter, kind, _]
            if filter.eq_ignore_ascii_case(b"FILTERBY")
                && (kind.eq_ignore_ascii_case(b"MODULE")
                    || kind.eq_ignore_ascii_case(b"ACLCAT")) =>
        {
            // The server has no modules and no categories.
            context.reply.array(0);
            return;
        }
        _ => {
            context.reply.error("ERR syntax error");
            return;
        }
    };
    let entries: Vec<Entry> = catalog::all(context.state, table)
        .filter(|entry| ferrite_protocol::glob::matches(&pattern, entry.name.as_bytes()))
        .collect();
    context.reply.array(entries.len());
    for entry in entries {
        context.reply.bulk(entry.name.as_bytes());
    }
}

/// Writes a command as `COMMAND` and `COMMAND INFO` show it.
fn info(reply: &mut Encoder, entry: &Entry) {
    let (first, last, step) = entry.keys;
    reply.array(10);
    reply.bulk(entry.name.as_bytes());
    reply.int(entry.arity.into());
    reply.set(entry.flags.len());
    for flag in &entry.flags {
        reply.simple(flag);
    }
    reply.int(first.into());
    reply.int(last.into());
    reply.int(step.into());
    // Categories, tips, key specifications and subcommands; clients do without them.
    reply.set(0);
    reply.array(0);
    reply.array(0);
    reply.array(0);
}

/// Writes a command as `COMMAND DOCS` shows it.
fn docs(reply: &mut Encoder, entry: &Entry) {
    let arguments = usage::parse(entry.arguments);
    reply.bulk(entry.name.as_bytes());
    reply.map(if arguments.is_empty() { 3 } else { 4 });
    reply.bulk(b"summary");
    reply.bulk(entry.summary.as_bytes());
    reply.bulk(b"since");
    reply.bulk(b"0.1.0");
    reply.bulk(b"group");
    reply.bulk(entry.group.as_bytes());
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        reply.array(arguments.len());
        for argument in &arguments {
            argument.write(reply);
        }
    }
}

fn get_keys(reply: &mut Encoder, request: &[&[u8]], table: &CommandTable) {
    match catalog::keys(table, request) {
        Ok(keys) if keys.is_empty() => {
            reply.error("ERR The command has no key arguments");
        }
        Ok(keys) => {
            reply.array(keys.len());
            for key in keys {
                reply.bulk(key);
            }
        }
        Err(error) => reply.error(error.text()),
    }
}
