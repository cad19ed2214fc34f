//! Requests and what they are read as: data.

use std::collections::HashSet;

use super::{COMMANDS, Command, Keys, find, parse};

/// A request as one would type it, without quotes, and what it is read as.
const READ: &[(&str, &str)] = &[
    ("WASM.CALL f", "f [] []"),
    ("wasm.call f.run KEYS k1 k2 ARGS a", "f.run [k1 k2] [a]"),
    ("WASM.CALL f ARGS a b keys k", "f [k] [a b]"),
    ("WASM.CALL f KEYS ARGS", "f [] []"),
    ("WASM.CALL f KEYS ARGS KEYS ARGS", "f [] [KEYS ARGS]"),
    ("WASM.CALL f ARGS KEYS ARGS KEYS", "f [ARGS KEYS] []"),
    ("WASM.CALL f KEYS KEYS k", "f [KEYS k] []"),
    ("WASM.CALL f KEYS k ARGS TIMEOUT 5", "f [k] [TIMEOUT 5]"),
    ("WASM.CALL f TIMEOUT 250 ARGS a", "f [] [a] 250ms"),
    ("WASM.CALL f timeout 5s", "f [] [] 5s"),
    (
        "WASM.CALL_RO f TIMEOUT 250 KEYS k ARGS a",
        "f [k] [a] 250ms read-only",
    ),
    ("FCALL f 0", "f [] []"),
    ("FCALL f 2 k1 k2 a1", "f [k1 k2] [a1]"),
    ("fcall f 1 ARGS KEYS", "f [ARGS] [KEYS]"),
    ("FCALL_RO f 0 a", "f [] [a] read-only"),
    ("WASM.CALLASYNC f KEYS k", "async f [k] []"),
    ("WASM.PROFILE f ARGS 1", "profile f [] [1]"),
];

/// A request, and the error that it is.
const REFUSED: &[(&str, &str)] = &[
    ("", "ERR unknown command \"\"; WASM.HELP lists the commands"),
    (
        "WASM.NOPE",
        "ERR unknown command \"WASM.NOPE\"; WASM.HELP lists the commands",
    ),
    (
        "WASM.CALL",
        "ERR wrong number of arguments for 'wasm.call' command; it is WASM.CALL name[.entry] [TIMEOUT milliseconds] [KEYS key …] [ARGS arg …]",
    ),
    (
        "WASM.LIST all",
        "ERR wrong number of arguments for 'wasm.list' command; it is WASM.LIST",
    ),
    (
        "WASM.CALL f KYES k",
        "ERR WASM.CALL: unknown option \"KYES\"; did you mean KEYS?",
    ),
    (
        "WASM.CALL f 1 k",
        "ERR WASM.CALL: unknown option \"1\"; it takes TIMEOUT, KEYS, ARGS",
    ),
    (
        "WASM.CALL f TIMEOUT",
        "ERR WASM.CALL: option TIMEOUT needs a value",
    ),
    (
        "WASM.CALL f TIMEOUT 0",
        "ERR WASM.CALL: option TIMEOUT must be at least 1 ms",
    ),
    (
        "WASM.CALL f TIMEOUT -1",
        "ERR WASM.CALL: option TIMEOUT: -1 is negative; a time starts at 0",
    ),
    (
        "WASM.CALL f TIMEOUT soon",
        "ERR WASM.CALL: option TIMEOUT: \"soon\" is no time; write 5s, 250ms or a number of milliseconds",
    ),
    (
        "WASM.CALL f TIMEOUT 99999999999999999999",
        "ERR WASM.CALL: option TIMEOUT: 99999999999999999999 is too large for a time",
    ),
    (
        "WASM.CALL f TIMEOUT 1 TIMEOUT 2",
        "ERR WASM.CALL: option TIMEOUT is given twice",
    ),
    (
        "WASM.CALL_RO f KYES k",
        "ERR WASM.CALL_RO: unknown option \"KYES\"; did you mean KEYS?",
    ),
    (
        "FCALL f",
        "ERR wrong number of arguments for 'fcall' command",
    ),
    ("FCALL f x", "ERR Bad number of keys provided"),
    ("FCALL f 1.5 a", "ERR Bad number of keys provided"),
    ("FCALL f -1 a", "ERR Number of keys can't be negative"),
    (
        "FCALL f 2 a",
        "ERR Number of keys can't be greater than number of args",
    ),
    (
        "FCALL_RO f 9223372036854775807 a",
        "ERR Number of keys can't be greater than number of args",
    ),
    (
        "WASM.LOAD f",
        "ERR wrong number of arguments for 'wasm.load' command; it is WASM.LOAD name source [DESCRIPTION text] [PERMISSIONS word-or-json] [LIMITS json] [ISOLATION rewind|fresh|reuse] [CONFIG json] [REPLACE]",
    ),
    (
        "WASM.DEFINE f JS",
        "ERR wrong number of arguments for 'wasm.define' command; it is WASM.DEFINE name [JS] source [DESCRIPTION text] [PERMISSIONS word-or-json] [LIMITS json] [ISOLATION rewind|fresh|reuse] [CONFIG json] [REPLACE]",
    ),
    (
        "WASM.LOAD f s REPLACE replace",
        "ERR WASM.LOAD: option REPLACE is given twice",
    ),
    (
        "WASM.LOAD f s LIMITS",
        "ERR WASM.LOAD: option LIMITS needs a value",
    ),
    (
        "WASM.LOAD f s LIMITS {} LIMITS {}",
        "ERR WASM.LOAD: option LIMITS is given twice",
    ),
    (
        "WASM.LOAD f s PERMS {}",
        "ERR WASM.LOAD: unknown option \"PERMS\"; it takes DESCRIPTION, PERMISSIONS, LIMITS, ISOLATION, CONFIG, REPLACE",
    ),
    (
        "WASM.LOAD f s PERMISSION {}",
        "ERR WASM.LOAD: unknown option \"PERMISSION\"; did you mean PERMISSIONS?",
    ),
    (
        "WASM.LOAD a.b s",
        "INVALID the function's name \"a.b\" has '.' at byte 1; use A-Z a-z 0-9 _ : -",
    ),
    (
        "WASM.LOAD f s ISOLATION none",
        "INVALID unknown isolation \"none\"; it is one of rewind, fresh, reuse",
    ),
    (
        "WASM.LOAD f s PERMISSIONS {",
        "INVALID permissions: not a JSON object: EOF while parsing an object at line 1 column 1",
    ),
    (
        "WASM.LOAD f s PERMISSIONS {\"allow_writes\":true}",
        "INVALID permissions: unknown field \"allow_writes\"; did you mean \"allow_write\"?",
    ),
    (
        "WASM.LOAD f s LIMITS {\"max_memory\":-1}",
        "INVALID limits: field \"max_memory\": -1 is negative; a size starts at 0",
    ),
    (
        "WASM.DEFINE f s LIMIT {}",
        "ERR WASM.DEFINE: unknown option \"LIMIT\"; did you mean LIMITS?",
    ),
    (
        "WASM.DEFINE f js program LIMIT {}",
        "ERR WASM.DEFINE: unknown option \"LIMIT\"; did you mean LIMITS?",
    ),
    (
        "WASM.RELOAD f s REPLACE",
        "ERR wrong number of arguments for 'wasm.reload' command; it is WASM.RELOAD name source",
    ),
    (
        "WASM.ERRORS f LIMIT",
        "ERR WASM.ERRORS: option LIMIT needs a value",
    ),
    (
        "WASM.ERRORS f LIMIT x",
        "ERR WASM.ERRORS: option LIMIT: \"x\" is no count; write a whole number such as 10000000",
    ),
    (
        "WASM.ERRORS f COUNT 1",
        "ERR WASM.ERRORS: unknown option \"COUNT\"; it takes LIMIT",
    ),
    (
        "WASM.RESULT",
        "ERR wrong number of arguments for 'wasm.result' command; it is WASM.RESULT call-id [BLOCK milliseconds]",
    ),
    (
        "WASM.RESULT 1 BLOCK forever",
        "ERR WASM.RESULT: option BLOCK: \"forever\" is no time; write 5s, 250ms or a number of milliseconds",
    ),
    (
        "WASM.RESULT 1 BLOCK 1 BLOCK 1",
        "ERR WASM.RESULT: option BLOCK is given twice",
    ),
    (
        "WASM.CALLALL f REDUCE",
        "ERR WASM.CALLALL: option REDUCE needs a value",
    ),
    (
        "WASM.CALLALL f REDUCE f.sum",
        "INVALID REDUCE names an entry of the same function, without the function's name; \"f.sum\" is none",
    ),
    (
        "WASM.CALLALL f TIMEOUT 0",
        "ERR WASM.CALLALL: option TIMEOUT must be at least 1 ms",
    ),
    (
        "WASM.CALLALL f PARTIAL PARTIAL",
        "ERR WASM.CALLALL: option PARTIAL is given twice",
    ),
    (
        "WASM.CALLALL f KEYS a",
        "ERR WASM.CALLALL: unknown option \"KEYS\"; it takes REDUCE, TIMEOUT, PARTIAL, ARGS",
    ),
];

fn words(request: &str) -> Vec<&[u8]> {
    request
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(str::as_bytes)
        .collect()
}

fn joined(words: &[&[u8]]) -> String {
    let words: Vec<_> = words
        .iter()
        .map(|word| String::from_utf8_lossy(word))
        .collect();
    format!("[{}]", words.join(" "))
}

fn show(command: &Command<'_>) -> String {
    let (prefix, call) = match command {
        Command::Call(call) => ("", call),
        Command::CallAsync(call) => ("async ", call),
        Command::Profile(call) => ("profile ", call),
        other => return format!("{other:?}"),
    };
    let mut text = format!(
        "{prefix}{} {} {}",
        String::from_utf8_lossy(call.function),
        joined(call.keys),
        joined(call.args)
    );
    if let Some(timeout) = call.timeout {
        text += &format!(" {timeout:?}");
    }
    if call.read_only {
        text += " read-only";
    }
    text
}

#[test]
fn requests_are_read() {
    for (request, expected) in READ {
        let words = words(request);
        let command = parse(&words).unwrap_or_else(|error| panic!("{request}: {error}"));
        assert_eq!(show(&command), *expected, "{request}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (request, expected) in REFUSED {
        let words = words(request);
        let error = parse(&words)
            .map(|command| show(&command))
            .expect_err(request);
        assert_eq!(error.to_string(), *expected, "{request}");
    }
}

#[test]
fn keys_are_found_without_running_anything() {
    for (request, expected) in READ {
        let words = words(request);
        let spec = find(words[0]).expect("the command is known");
        let keys = spec.key_positions(&words).expect("the request is right");
        let keys = joined(&words[keys]);
        assert!(expected.contains(&keys), "{request}: {keys}");
    }
    let info = find(b"wasm.info").expect("the command is known");
    assert_eq!(info.key_positions(&[b"WASM.INFO", b"f"]).ok(), Some(0..0));
    assert!(info.key_positions(&[b"WASM.INFO"]).is_err());
}

#[test]
fn options_may_stand_in_any_order() {
    let options = [
        "DESCRIPTION text",
        "PERMISSIONS {\"allow_write\":true}",
        "LIMITS {\"max_fuel\":5}",
        "isolation Reuse",
        "REPLACE",
    ];
    let mut seen = HashSet::new();
    for first in 0..options.len() {
        let rotated = [&options[first..], &options[..first]].concat().join(" ");
        let request = format!("WASM.LOAD f source {rotated}");
        let words = words(&request);
        let command = parse(&words).unwrap_or_else(|error| panic!("{request}: {error}"));
        seen.insert(show(&command));
    }
    assert_eq!(seen.len(), 1);
}

#[test]
fn the_table_is_sound() {
    let names: HashSet<_> = COMMANDS.iter().map(|spec| spec.name).collect();
    assert_eq!(names.len(), COMMANDS.len());
    for spec in COMMANDS {
        let shortest = vec![b"1".as_slice(); spec.arity.unsigned_abs() as usize];
        assert!(spec.takes(shortest.len()) && !spec.takes(shortest.len() - 1));
        assert!(std::ptr::eq(
            find(spec.name.to_ascii_lowercase().as_bytes()).expect("it is found"),
            spec
        ));
        assert!(spec.summary.ends_with('.'), "{spec:?}");
        let movable = spec.flags.contains(&"movablekeys");
        assert_eq!(movable, spec.keys != Keys::None, "{spec:?}");
        // The syntax shows as many words that cannot be left out as there must be.
        let required = spec
            .syntax
            .split(' ')
            .filter(|word| *word != "[JS]")
            .take_while(|word| !word.starts_with('[') && !word.is_empty());
        assert_eq!(
            required.count() + 1,
            spec.arity.unsigned_abs() as usize,
            "{spec:?}"
        );
    }
    for name in ["GET", "", "WASM", "WASM.", "FCALL2", "WASM.CALLX"] {
        assert!(find(name.as_bytes()).is_none(), "{name}");
    }
}

#[test]
fn the_documentation_shows_every_command() {
    const PAGE: &str = include_str!("../../../docs/commands.md");
    for spec in COMMANDS {
        let usage = format!("{} {}", spec.name, spec.syntax.replace('|', "\\|"));
        let row = format!("\n| `{}` |", usage.trim_end());
        assert!(PAGE.contains(&row), "{row}");
    }
}

#[test]
fn random_words_never_panic() {
    let pool: [&[u8]; 20] = [
        b"KEYS",
        b"ARGS",
        b"TIMEOUT",
        b"REPLACE",
        b"LIMITS",
        b"PERMISSIONS",
        b"BLOCK",
        b"LIMIT",
        b"ISOLATION",
        b"",
        b"1",
        b"-1",
        b"{}",
        b"\xff\x00",
        b"f",
        b"fresh",
        b"5s",
        b"99999999999999999999",
        b"DESCRIPTION",
        b"{\"max_fuel\":1}",
    ];
    let mut state: u64 = 3;
    let mut next = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for _ in 0..50_000 {
        let mut words = vec![COMMANDS[next(COMMANDS.len())].name.as_bytes()];
        for _ in 0..next(8) {
            words.push(pool[next(pool.len())]);
        }
        let spec = find(words[0]).expect("it was taken from the table");
        let keys = spec.key_positions(&words);
        if let Ok(Command::Call(call) | Command::CallAsync(call) | Command::Profile(call)) =
            parse(&words)
        {
            let keys = keys.expect("what can be read has keys");
            assert_eq!(call.keys, &words[keys]);
            assert!(call.keys.len() + call.args.len() <= words.len() - 2);
        }
    }
}
