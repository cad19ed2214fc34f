//! `ACL subcommand …`

mod categories;
mod file;
mod rules;

use std::time::Instant;

use ferrite_runtime::error::Quoted;

pub use file::UsersFileError;
pub(crate) use file::read_users;

use self::categories::{CATEGORIES, categories};
use crate::clients::users::{DEFAULT_USER, User};
use crate::commands::command_ref::CommandTable;
use crate::commands::permission;
use crate::commands::replies::{help, unknown_subcommand, wrong_arity};
use crate::commands::spec::Spec;
use crate::config::Right;
use crate::request::{AfterReply, RequestContext};

const NAME: &str = "ACL";

/// Returns the command, which `answer` runs: its rules name the commands of the table that it stands
/// in.
pub(in crate::commands) const fn spec(
    answer: fn(&mut RequestContext<'_>, &[&[u8]]) -> AfterReply,
) -> Spec {
    Spec {
        name: NAME,
        arity: -2,
        flags: &["admin", "noscript", "loading", "stale"],
        summary: "Shows and changes users and what they may do.",
        arguments: "WHOAMI|USERS|LIST|GETUSER|SETUSER|DELUSER|CAT|LOG|DRYRUN|GENPASS|SAVE|LOAD|HELP [argument …]",
        group: "server",
        right: None,
        before_auth: false,
        run: answer,
    }
}

const HELP: [&str; 28] = [
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    Returns the categories of commands, or the commands of one.",
    "DELUSER <username> [<username> ...]",
    "    Removes users and closes their connections.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user may make a request, without making it.",
    "GETUSER <username>",
    "    Returns what a user may do.",
    "GENPASS [<bits>]",
    "    Returns a password that nobody guesses.",
    "LIST",
    "    Returns every user as rules.",
    "LOAD",
    "    Reads the users from the configuration file and from server.acl_file again.",
    "LOG [<count> | RESET]",
    "    Returns, or forgets, the requests that users were refused.",
    "SAVE",
    "    Writes the users into server.acl_file.",
    "SETUSER <username> <rule> [<rule> ...]",
    "    Makes or changes a user. Rules are those of Redis, apart from selectors, and",
    "    functions=GLOB+GLOB for the functions that it may use.",
    "USERS",
    "    Returns the names of all users.",
    "WHOAMI",
    "    Returns the name of the connection's user.",
    "HELP",
    "    This text.",
];

pub(in crate::commands) fn run(
    context: &mut RequestContext<'_>,
    argv: &[&[u8]],
    table: &CommandTable,
) -> AfterReply {
    let subcommand = argv[1].to_ascii_uppercase();
    // Everybody may know who they are; for the rest, rules name ACL.
    if subcommand != b"WHOAMI" && !context.session.may(Right::Admin) {
        let denial = permission::Denial::Right {
            command: "acl".to_owned(),
            right: Right::Admin,
        };
        let error = denial.error(context.session.user_name());
        context.reply.error(error);
        return AfterReply::KeepOpen;
    }
    match (subcommand.as_slice(), &argv[2..]) {
        (b"WHOAMI", []) => {
            let name = context.session.user_name().to_owned();
            context.reply.bulk(name.as_bytes());
        }
        (b"USERS", []) => {
            let users = context.state.users.current();
            let names: Vec<&str> = users.all().map(|user| user.name()).collect();
            context.reply.array(names.len());
            for name in names {
                context.reply.bulk(name.as_bytes());
            }
        }
        (b"LIST", []) => {
            let users = context.state.users.current();
            let lines: Vec<String> = users.all().map(|user| rules::line(user)).collect();
            context.reply.array(lines.len());
            for line in lines {
                context.reply.bulk(line.as_bytes());
            }
        }
        (b"GETUSER", [name]) => get_user(context, name),
        (b"SETUSER", [name, rules @ ..]) => {
            // Passwords are hashed slowly.
            tokio::task::block_in_place(|| set_user(context, name, rules, table));
        }
        (b"DELUSER", names) if !names.is_empty() => delete_users(context, names),
        (b"CAT", []) => {
            context.reply.array(CATEGORIES.len());
            for category in CATEGORIES {
                context.reply.bulk(category.as_bytes());
            }
        }
        (b"CAT", [category]) => list_category(context, category, table),
        (b"LOG", []) => show_log(context, 10),
        (b"LOG", [word]) if word.eq_ignore_ascii_case(b"RESET") => {
            context.state.acl_log.clear();
            context.reply.ok();
        }
        (b"LOG", [count]) => match number(count) {
            Some(count) => show_log(context, count),
            None => context.reply.error("ERR value is out of range, must be positive"),
        },
        (b"DRYRUN", [name, request @ ..]) if !request.is_empty() => {
            dry_run(context, name, request, table);
        }
        (b"GENPASS", []) => generate(context, 256),
        (b"GENPASS", [bits]) => match number(bits) {
            Some(bits @ 1..=4096) => generate(context, bits),
            _ => context.reply.error(
                "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
            ),
        },
        (b"SAVE", []) => match tokio::task::block_in_place(|| file::save(context.state)) {
            Ok(()) => context.reply.ok(),
            Err(error) => fail(context, &error),
        },
        (b"LOAD", []) => {
            match tokio::task::block_in_place(|| file::load(context.state, table)) {
                Ok(()) => {
                    log(context, "all", "read again");
                    context.reply.ok();
                }
                Err(error) => fail(context, &error),
            }
        }
        (b"HELP", []) => help(context.reply, &HELP),
        (
            b"WHOAMI" | b"USERS" | b"LIST" | b"GETUSER" | b"SETUSER" | b"DELUSER" | b"CAT" | b"LOG"
            | b"DRYRUN" | b"GENPASS" | b"SAVE" | b"LOAD" | b"HELP",
            _,
        ) => {
            let name = format!("acl|{}", String::from_utf8_lossy(&subcommand));
            wrong_arity(context.reply, &name);
        }
        _ => unknown_subcommand(context.reply, NAME, argv[1]),
    }
    AfterReply::KeepOpen
}

fn fail(context: &mut RequestContext<'_>, error: &dyn std::error::Error) {
    let text = ferrite_protocol::error_chain::ErrorChain(error).to_string();
    context.reply.error(format!("ERR {text}"));
}

/// Logs who changed which user.
fn log(context: &RequestContext<'_>, user: &str, change: &str) {
    tracing::info!(
        target: "ferrite::changes",
        user,
        change,
        client = context.client.id,
        peer = %context.client.peer,
        by = context.session.user_name(),
        "users changed"
    );
}

fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", Quoted(bytes)))
}

fn get_user(context: &mut RequestContext<'_>, name: &[u8]) {
    let user = text(name)
        .ok()
        .and_then(|name| context.state.users.current().by_name(name));
    let Some(user) = user else {
        context.reply.null();
        return;
    };
    let reply = &mut *context.reply;
    let mut flags = vec![if user.enabled { "on" } else { "off" }];
    if user.no_password {
        flags.push("nopass");
    }
    reply.map(7);
    reply.bulk(b"flags");
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag.as_bytes());
    }
    reply.bulk(b"passwords");
    reply.array(user.passwords.len());
    for hash in &user.passwords {
        reply.bulk(hash.to_string().as_bytes());
    }
    for (name, value) in [
        ("commands", rules::commands(&user)),
        ("keys", user.keys.shown()),
        ("channels", "&*".to_owned()),
        ("functions", rules::functions(&user)),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"selectors");
    reply.array(0);
}

fn set_user(context: &mut RequestContext<'_>, name: &[u8], rules: &[&[u8]], table: &CommandTable) {
    let _edit = context.state.users.edit();
    let made = text(name).and_then(|name| {
        let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits || name.contains('=') {
            return Err("Usernames can't contain spaces, '=' or control characters".to_owned());
        }
        let known = context.state.users.current().by_name(name);
        let mut user = known.map_or_else(|| User::powerless(name), |user| User::clone(&user));
        for rule in rules {
            let shown = rule.first().filter(|kind| !b"><#!".contains(kind));
            let rule = text(rule)?;
            rules::apply(&mut user, rule, table).map_err(|problem| {
                // Passwords are not shown.
                let shown = shown.map_or("…", |_| rule);
                format!("Error in ACL SETUSER modifier '{shown}': {problem}")
            })?;
        }
        Ok(user)
    });
    match made {
        Ok(user) => {
            let name = user.name().to_owned();
            context.state.users.change(|users| users.put(user));
            log(context, &name, "set");
            context.reply.ok();
        }
        Err(error) => context.reply.error(format!("ERR {error}")),
    }
}

fn delete_users(context: &mut RequestContext<'_>, names: &[&[u8]]) {
    if names.contains(&DEFAULT_USER.as_bytes()) {
        context
            .reply
            .error("ERR The 'default' user cannot be removed");
        return;
    }
    let edit = context.state.users.edit();
    let removed: Vec<&str> = context.state.users.change(|users| {
        let names = names.iter().filter_map(|name| text(name).ok());
        names.filter(|name| users.remove(name)).collect()
    });
    drop(edit);
    for name in &removed {
        log(context, name, "removed");
        for client in context.state.clients.all() {
            if client.labels().user == **name && client.id != context.client.id {
                client.disconnect();
            }
        }
    }
    context.reply.count(removed.len() as u64);
}

fn list_category(context: &mut RequestContext<'_>, category: &[u8], table: &CommandTable) {
    let category = category.to_ascii_lowercase();
    if !CATEGORIES.iter().any(|known| known.as_bytes() == category) {
        context.reply.error(format!(
            "ERR Unknown category '{}'",
            category.escape_ascii()
        ));
        return;
    }
    let names: Vec<String> = table
        .all()
        .filter(|&command| {
            let found = categories(command);
            found.iter().any(|known| known.as_bytes() == category)
        })
        .map(|command| command.name().to_ascii_lowercase())
        .collect();
    context.reply.array(names.len());
    for name in names {
        context.reply.bulk(name.as_bytes());
    }
}

fn show_log(context: &mut RequestContext<'_>, count_max: usize) {
    let entries = context.state.acl_log.newest(count_max);
    let now = Instant::now();
    let unix_millis = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let reply = &mut *context.reply;
    reply.array(entries.len());
    for entry in entries {
        let age = |at: Instant| now.saturating_duration_since(at);
        let at = |at: Instant| {
            let millis = unix_millis.saturating_sub(age(at).as_millis());
            u64::try_from(millis).unwrap_or(u64::MAX)
        };
        reply.map(10);
        reply.bulk(b"count");
        reply.count(entry.count);
        for (name, value) in [
            ("reason", entry.reason),
            ("context", entry.place),
            ("object", entry.object.as_str()),
            ("username", entry.user.as_str()),
        ] {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
        reply.bulk(b"age-seconds");
        reply.double(age(entry.last).as_secs_f64());
        reply.bulk(b"client-info");
        reply.bulk(entry.client.as_bytes());
        for (name, value) in [
            ("entry-id", entry.id),
            ("timestamp-created", at(entry.first)),
            ("timestamp-last-updated", at(entry.last)),
        ] {
            reply.bulk(name.as_bytes());
            reply.count(value);
        }
    }
}

fn dry_run(context: &mut RequestContext<'_>, name: &[u8], request: &[&[u8]], table: &CommandTable) {
    let user = text(name)
        .ok()
        .and_then(|name| context.state.users.current().by_name(name));
    let Some(user) = user else {
        context
            .reply
            .error(format!("ERR User '{}' not found", name.escape_ascii()));
        return;
    };
    let Some(found) = table.find(request[0]) else {
        context.reply.error(format!(
            "ERR Command '{}' not found",
            request[0].escape_ascii()
        ));
        return;
    };
    match permission::check(&user, found, request) {
        Ok(()) => context.reply.ok(),
        Err(denial) => {
            let error = denial.error(user.name());
            let text = error.strip_prefix("NOPERM ").unwrap_or(&error);
            context.reply.bulk(text.as_bytes());
        }
    }
}

/// Replies random bits as hexadecimal digits.
fn generate(context: &mut RequestContext<'_>, bits: usize) {
    let digits = bits.div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    if getrandom::fill(&mut bytes).is_err() {
        context
            .reply
            .error("ERR the operating system gave no random bytes");
        return;
    }
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    context.reply.bulk(text.as_bytes());
}
