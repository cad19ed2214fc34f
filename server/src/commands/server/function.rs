//! `FUNCTION LOAD | LIST | DELETE | FLUSH | STATS | KILL`: functions by the methods that client libraries
//! have. A library has one function of its own name, whose entries are called as `name.entry`.

use ferrite_protocol::glob;
use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::Moment;
use ferrite_runtime::commands::{COMMANDS, Scope, Spec as FunctionSpec};
use serde_json::{Map, Value};

use crate::clients::caller::Caller;
use crate::commands::change_log;
use crate::commands::command_ref::CommandTable;
use crate::commands::permission::{self, Denial};
use crate::commands::replies::{help, unknown_subcommand, wrong_arity};
use crate::commands::spec::Spec;
use crate::config::Right;
use crate::functions::Functions;
use crate::request::{AfterReply, RequestContext};

const NAME: &str = "FUNCTION";

/// Returns the command, which `answer` runs: it needs the table that it stands in itself.
pub(in crate::commands) const fn spec(
    answer: fn(&mut RequestContext<'_>, &[&[u8]]) -> AfterReply,
) -> Spec {
    Spec {
        name: NAME,
        arity: -2,
        flags: &["noscript"],
        summary: "Loads, lists and removes functions as libraries of the engine WASM.",
        arguments: "LOAD|LIST|DELETE|FLUSH|STATS|KILL|HELP [argument …]",
        group: "scripting",
        right: None,
        before_auth: false,
        run: answer,
    }
}

/// Name of the engine.
const ENGINE: &str = "WASM";

const HELP: [&str; 16] = [
    "FUNCTION <subcommand> [<arg> ...]. Subcommands are:",
    "LOAD [REPLACE] <code>",
    "    Loads a function. <code> begins with the line #!wasm name=NAME; a line of JSON with description,",
    "    permissions, limits and isolation may follow, and then the module: its bytes, their base64, its",
    "    digest, its text, or a path.",
    "DELETE <name>",
    "    Removes a function.",
    "FLUSH [ASYNC|SYNC]",
    "    Removes all functions.",
    "KILL",
    "    Ends all calls that are running.",
    "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
    "    Returns the functions.",
    "STATS",
    "    Returns the running call and the number of functions.",
    "HELP",
];

pub(in crate::commands) fn run(
    context: &mut RequestContext<'_>,
    argv: &[&[u8]],
    table: &CommandTable,
) -> AfterReply {
    let state = context.state;
    let Some(runtime) = &state.functions else {
        context
            .reply
            .error("ERR functions are switched off by wasm.enabled = false");
        return AfterReply::KeepOpen;
    };
    let subcommand = argv[1].to_ascii_uppercase();
    let manages = matches!(
        subcommand.as_slice(),
        b"LOAD" | b"DELETE" | b"FLUSH" | b"KILL"
    );
    let may = context.session.may(Right::Manage) || (!manages && context.session.may(Right::Call));
    if !may && subcommand != b"HELP" {
        let right = if manages { Right::Manage } else { Right::Call };
        let command = "function".to_owned();
        refuse(context, &Denial::Right { command, right });
        return AfterReply::KeepOpen;
    }
    match (subcommand.as_slice(), &argv[2..]) {
        (b"LOAD", [code]) => load(context, runtime, code, false, table),
        (b"LOAD", [replace, code]) if replace.eq_ignore_ascii_case(b"REPLACE") => {
            load(context, runtime, code, true, table);
        }
        (b"LOAD", [option, _]) => context.reply.error(format!(
            "ERR Unknown option given: {}",
            option.escape_ascii()
        )),
        (b"DELETE", [name]) => delete(context, runtime, name),
        (b"FLUSH", []) => flush(context, runtime),
        (b"FLUSH", [mode])
            if mode.eq_ignore_ascii_case(b"ASYNC") || mode.eq_ignore_ascii_case(b"SYNC") =>
        {
            flush(context, runtime);
        }
        (b"KILL", []) => {
            let functions = runtime.functions();
            let killed: usize = functions
                .iter()
                .filter(|registered| may_see(context, registered.record().name.as_str()))
                .filter_map(|registered| registered.function())
                .map(|function| function.kill_all())
                .sum();
            if killed > 0 {
                context.reply.ok();
            } else {
                context
                    .reply
                    .error("NOTBUSY No scripts in execution right now.");
            }
        }
        (b"LIST", options) => list(context, runtime, options),
        (b"STATS", []) => stats(context, runtime),
        (b"HELP", []) => help(context.reply, &HELP),
        (b"DUMP" | b"RESTORE", _) => context.reply.error(
            "ERR functions are moved as signed bundles (ferrite-wasmc bundle) or with a backup (SAVE)",
        ),
        (b"LOAD" | b"DELETE" | b"FLUSH" | b"KILL" | b"STATS" | b"HELP", _) => {
            let name = format!("function|{}", String::from_utf8_lossy(&subcommand));
            wrong_arity(context.reply, &name);
        }
        _ => unknown_subcommand(context.reply, NAME, argv[1]),
    }
    AfterReply::KeepOpen
}

fn refuse(context: &mut RequestContext<'_>, denial: &Denial) {
    let error = denial.error(context.session.user_name());
    context.reply.error(error);
}

/// Returns true if the user may use the function; writes the error if not.
fn may_use(context: &mut RequestContext<'_>, name: &[u8]) -> bool {
    let may = context
        .session
        .user()
        .is_some_and(|user| user.may_use(name));
    if !may {
        refuse(context, &Denial::Function(name.to_owned()));
    }
    may
}

/// Returns true if the user may use the function.
fn may_see(context: &RequestContext<'_>, name: &str) -> bool {
    let user = context.session.user();
    user.is_some_and(|user| user.may_use(name.as_bytes()))
}

/// Logs who changed the function.
fn record(context: &RequestContext<'_>, command: &'static str, name: &[u8], reply: &[u8]) {
    change_log::record(&Caller::of(context.client), command, Some(name), reply);
}

/// A library as it was typed.
#[derive(Debug, PartialEq)]
struct Library<'a> {
    name: String,
    /// Options of `WASM.LOAD`, with their values.
    options: Vec<(&'static str, String)>,
    source: &'a [u8],
}

impl<'a> Library<'a> {
    fn parse(code: &'a [u8]) -> Result<Self, String> {
        let (first, mut rest) = line_of(code).ok_or("Missing library metadata")?;
        let first = std::str::from_utf8(first).map_err(|_| "Missing library metadata")?;
        let mut words = first.split_ascii_whitespace();
        let engine = words
            .next()
            .and_then(|word| word.strip_prefix("#!"))
            .ok_or("Missing library metadata")?;
        if !engine.eq_ignore_ascii_case(ENGINE) {
            return Err(format!("Engine '{engine}' not found; there is {ENGINE}"));
        }
        let mut name = None;
        for word in words {
            match word.split_once('=') {
                Some(("name", value)) if name.is_none() => name = Some(value.to_owned()),
                _ => return Err(format!("Invalid metadata value given: {word}")),
            }
        }
        let mut options = Vec::new();
        if rest.first() == Some(&b'{')
            && let Some((line, after)) = line_of(rest)
        {
            rest = after;
            let object: Map<String, Value> = serde_json::from_slice(line)
                .map_err(|error| format!("the second line is not JSON: {error}"))?;
            for (key, value) in object {
                let text = match &value {
                    Value::String(text) => text.clone(),
                    value => value.to_string(),
                };
                match key.as_str() {
                    "name" => name = Some(text),
                    "description" => options.push(("DESCRIPTION", text)),
                    "permissions" => options.push(("PERMISSIONS", text)),
                    "limits" => options.push(("LIMITS", text)),
                    "isolation" => options.push(("ISOLATION", text)),
                    _ => return Err(format!("there is no key {key:?} in the second line")),
                }
            }
        }
        Ok(Self {
            name: name.ok_or("Library name was not given")?,
            options,
            source: rest.trim_ascii_end(),
        })
    }
}

/// Splits off the first line.
fn line_of(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|&byte| byte == b'\n')?;
    Some((text[..end].trim_ascii_end(), &text[end + 1..]))
}

/// Runs a command on functions that blocks.
fn run_function_command(
    runtime: &Functions,
    name: &str,
    argv: &[&[u8]],
    scope: Scope<'_>,
    protocol: Protocol,
) -> Vec<u8> {
    let spec: Option<&'static FunctionSpec> = COMMANDS.into_iter().find(|spec| spec.name == name);
    let mut reply = Encoder::new(protocol);
    match spec.map(|spec| spec.read(argv)) {
        Some(Ok(command)) => {
            // The other connections of this thread are served by others meanwhile.
            tokio::task::block_in_place(|| runtime.run_blocking(command, scope, &mut reply));
        }
        Some(Err(error)) => reply.error_display(&error),
        None => reply.error("ERR there is no such command"),
    }
    reply.take()
}

fn load(
    context: &mut RequestContext<'_>,
    runtime: &Functions,
    code: &[u8],
    replace: bool,
    table: &CommandTable,
) {
    let library = match Library::parse(code) {
        Ok(library) => library,
        Err(problem) => return context.reply.error(format!("ERR {problem}")),
    };
    if !may_use(context, library.name.as_bytes()) {
        return;
    }
    let is_text = library.source.trim_ascii_start().first() == Some(&b'(');
    let command = if is_text { "WASM.DEFINE" } else { "WASM.LOAD" };
    let mut argv: Vec<&[u8]> = vec![command.as_bytes(), library.name.as_bytes(), library.source];
    for (option, value) in &library.options {
        argv.extend([option.as_bytes(), value.as_bytes()]);
    }
    if replace {
        argv.push(b"REPLACE");
    }
    let user = context.session.user();
    let scope = Scope {
        database: context.session.store.database(),
        automation: user.map_or_else(Default::default, |user| {
            permission::automation_rights(user, table)
        }),
        ..Scope::default()
    };
    let protocol = context.reply.protocol();
    let reply = run_function_command(runtime, command, &argv, scope, protocol);
    record(context, "FUNCTION LOAD", library.name.as_bytes(), &reply);
    if reply.first() == Some(&b'-') {
        context.reply.raw(&reply);
    } else {
        context.reply.bulk(library.name.as_bytes());
    }
}

fn delete(context: &mut RequestContext<'_>, runtime: &Functions, name: &[u8]) {
    if !may_use(context, name) {
        return;
    }
    if runtime.function(name).is_err() {
        return context.reply.error("ERR Library not found");
    }
    let reply = run_function_command(
        runtime,
        "WASM.UNLOAD",
        &[b"WASM.UNLOAD", name],
        Scope::default(),
        context.reply.protocol(),
    );
    record(context, "FUNCTION DELETE", name, &reply);
    context.reply.raw(&reply);
}

/// Removes every function that the user may use.
fn flush(context: &mut RequestContext<'_>, runtime: &Functions) {
    for registered in runtime.functions() {
        let name = registered.record().name.as_str();
        let may = context
            .session
            .user()
            .is_some_and(|user| user.may_use(name.as_bytes()));
        if !may {
            continue;
        }
        let argv: [&[u8]; 2] = [b"WASM.UNLOAD", name.as_bytes()];
        let scope = Scope::default();
        let protocol = context.reply.protocol();
        let reply = run_function_command(runtime, "WASM.UNLOAD", &argv, scope, protocol);
        record(context, "FUNCTION FLUSH", name.as_bytes(), &reply);
        // One that is gone meanwhile is no failure.
        if reply.starts_with(b"-") && !reply.starts_with(b"-NOFUNC") {
            return context.reply.raw(&reply);
        }
    }
    context.reply.ok();
}

fn list(context: &mut RequestContext<'_>, runtime: &Functions, options: &[&[u8]]) {
    let (mut pattern, mut with_code) = (None, false);
    let mut rest = options;
    while let [option, after @ ..] = rest {
        rest = match after {
            _ if option.eq_ignore_ascii_case(b"WITHCODE") && !with_code => {
                with_code = true;
                after
            }
            [value, after @ ..]
                if option.eq_ignore_ascii_case(b"LIBRARYNAME") && pattern.is_none() =>
            {
                pattern = Some(*value);
                after
            }
            _ => {
                return context
                    .reply
                    .error(format!("ERR Unknown argument {}", option.escape_ascii()));
            }
        };
    }
    let user = context.session.user().cloned();
    let shown: Vec<_> = runtime
        .functions()
        .into_iter()
        .filter(|registered| {
            let name = registered.record().name.as_str().as_bytes();
            pattern.is_none_or(|pattern| glob::matches(pattern, name))
                && user.as_ref().is_some_and(|user| user.may_use(name))
        })
        .collect();
    let reply = &mut *context.reply;
    reply.array(shown.len());
    for registered in shown {
        let record = registered.record();
        let name = record.name.as_str();
        reply.map(if with_code { 4 } else { 3 });
        reply.bulk(b"library_name");
        reply.bulk(name.as_bytes());
        reply.bulk(b"engine");
        reply.bulk(ENGINE.as_bytes());
        reply.bulk(b"functions");
        reply.array(1);
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(name.as_bytes());
        reply.bulk(b"description");
        match record.description.as_deref() {
            Some(text) => reply.bulk(text.as_bytes()),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        let reads_only = !record.permissions.allow_write;
        reply.set(usize::from(reads_only));
        if reads_only {
            reply.bulk(b"no-writes");
        }
        if with_code {
            reply.bulk(b"library_code");
            let code = format!("#!wasm name={name}\n{}", record.digest);
            reply.bulk(code.as_bytes());
        }
    }
}

fn stats(context: &mut RequestContext<'_>, runtime: &Functions) {
    let functions: Vec<_> = runtime
        .functions()
        .into_iter()
        .filter(|registered| may_see(context, registered.record().name.as_str()))
        .collect();
    let now = Moment::now();
    let longest = functions
        .iter()
        .filter_map(|registered| {
            let running = registered.running();
            let since = running.iter().map(|call| now.since(call.since)).max()?;
            Some((registered.record().name.as_str().to_owned(), since))
        })
        .max_by_key(|(_, since)| *since);
    let reply = &mut *context.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    match longest {
        None => reply.null(),
        Some((name, since)) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(name.as_bytes());
            reply.bulk(b"command");
            reply.array(2);
            reply.bulk(b"FCALL");
            reply.bulk(name.as_bytes());
            reply.bulk(b"duration_ms");
            reply.count(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        }
    }
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(ENGINE.as_bytes());
    reply.map(2);
    for name in ["libraries_count", "functions_count"] {
        reply.bulk(name.as_bytes());
        reply.count(functions.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::Library;

    #[test]
    fn a_library_is_a_head_and_a_module() {
        let code = b"#!wasm name=lib\r\n{\"name\":\"f\",\"permissions\":{\"allow_write\":true}}\nblake3:12\n";
        let expected = Library {
            name: "f".to_owned(),
            options: vec![("PERMISSIONS", r#"{"allow_write":true}"#.to_owned())],
            source: b"blake3:12",
        };
        assert_eq!(Library::parse(code), Ok(expected));
        let plain = Library::parse(b"#!WASM name=lib\n(module)").expect("right");
        assert_eq!(
            (plain.name.as_str(), plain.source),
            ("lib", &b"(module)"[..])
        );
        for (code, problem) in [
            (&b"return 1"[..], "Missing library metadata"),
            (b"#!lua name=x\nreturn 1", "Engine 'lua' not found"),
            (b"#!wasm\n(module)", "Library name was not given"),
            (b"#!wasm nme=x\n(module)", "Invalid metadata"),
            (b"#!wasm name=x\n{\"colour\":1}\n(module)", "\"colour\""),
            (b"#!wasm name=x\n{]\n(module)", "not JSON"),
        ] {
            let error = Library::parse(code).expect_err("wrong");
            assert!(error.contains(problem), "{error}");
        }
    }
}
