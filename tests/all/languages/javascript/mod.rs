//! Programs in JavaScript on the server and in Valkey and Redis, defined as source.

mod requests;
mod without_compiler;

use std::fs;

use ferrite_tests::{Client, EngineKind, Reply, Server};

const PROGRAM: &str = include_str!("program.js");

const READ_WRITE: &str = r#"{"allowed_keys":["*"],"allow_write":true}"#;

/// Defines a program as `p` under an isolation.
fn define(client: &mut Client, isolation: &str) {
    let reply = client.call(&[
        "WASM.DEFINE",
        "p",
        "js",
        PROGRAM,
        "PERMISSIONS",
        READ_WRITE,
        "ISOLATION",
        isolation,
        "REPLACE",
    ]);
    assert!(
        reply.text().is_some_and(|text| text.starts_with("blake3:")),
        "{reply:?}"
    );
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

/// The error of a call of an entry of `p`.
fn error(client: &mut Client, call: &str) -> String {
    let reply = client.run(&format!("WASM.CALL p.{call}"));
    reply
        .error()
        .unwrap_or_else(|| panic!("{call}: {reply:?}"))
        .to_owned()
}

/// Behaviour that holds on every host under every isolation.
fn works(client: &mut Client) {
    assert_eq!(client.run("WASM.CALL p.visit KEYS visits"), Reply::Int(11));
    assert_eq!(client.run("WASM.CALL p.visit KEYS visits"), Reply::Int(22));
    assert_eq!(client.run("DEL visits"), Reply::Int(1));

    // An error that nobody catches undoes the call's writes; an error reply does not.
    assert_eq!(
        error(client, "half_done KEYS k"),
        "TRAP TypeError: cannot read property 'missing' of null (at half_done p.js:16:3)"
    );
    assert_eq!(client.run("EXISTS k"), Reply::Int(0));
    assert_eq!(error(client, "refuse KEYS k"), "NOUSER there is none");
    assert_eq!(client.run("GET k"), bulk("kept"));
    assert_eq!(client.run("DEL k"), Reply::Int(1));

    let hash = Reply::Array(vec![bulk("a"), bulk("1"), bulk("b"), bulk("two")]);
    assert_eq!(
        client.run("WASM.CALL p.caught KEYS h"),
        Reply::Array(vec![Reply::Int(1), bulk("WRONGTYPE"), hash])
    );
    let pair = |name: &str, value: Reply| [bulk(name), value];
    let expected = [
        pair("none", Reply::Null),
        pair("yes", Reply::Int(1)),
        pair("whole", Reply::Int(-7)),
        pair("big", Reply::Int(i64::MAX)),
        pair("text", bulk("é😀")),
        pair("raw", Reply::Bulk(vec![1, 2])),
        pair(
            "list",
            Reply::Array(vec![
                Reply::Int(1),
                Reply::Array(vec![Reply::Int(2), Reply::Null]),
            ]),
        ),
        pair(
            "map",
            Reply::Array(vec![bulk("k"), Reply::Array(vec![Reply::Int(1)])]),
        ),
        pair("day", bulk("1970-01-01T00:00:00.000Z")),
        pair("args", Reply::Array(vec![bulk("x"), bulk("")])),
    ];
    assert_eq!(
        client.call(&["WASM.CALL", "p.values", "ARGS", "x", ""]),
        Reply::Array(expected.into_iter().flatten().collect())
    );

    let raw = b"\xff\0k".as_slice();
    assert_eq!(
        client.call(&[
            b"WASM.CALL".as_slice(),
            b"p.copy",
            b"KEYS",
            raw,
            b"ARGS",
            raw
        ]),
        Reply::Array(vec![
            Reply::Bulk(raw.to_vec()),
            Reply::Int(2),
            Reply::Int(1)
        ])
    );
    let refused = client.call(&[b"WASM.CALL".as_slice(), b"p.visit", b"KEYS", raw]);
    assert_eq!(
        refused.error(),
        Some(r#"ERR visit: KEYS[1] must be UTF-8 text, not "\xff\x00k""#)
    );
    // Longer than what the engine keeps room for.
    let long = "x".repeat(100_000);
    let copied = client.call(&["WASM.CALL", "p.copy", "KEYS", "long", "ARGS", &long]);
    assert_eq!(
        copied.elements().and_then(|items| items.first()?.text()),
        Some(long.as_str())
    );

    assert_eq!(client.run("WASM.CALL p.later"), Reply::Int(0));
    assert_eq!(
        error(client, "forgotten"),
        "TRAP Error: forgotten waits for a promise that nothing will settle"
    );
    let fuel = error(client, "forever");
    assert!(fuel.starts_with("FUEL "), "{fuel}");
    let memory = error(client, "hog");
    assert!(memory.starts_with("MEMORY "), "{memory}");
    for kind in [
        "call",
        "parse",
        "sort",
        "replace",
        "generator",
        "getter",
        "stringify",
        "proxy",
        "flat",
        "bound",
    ] {
        assert_eq!(
            client.run(&format!("WASM.CALL p.deep ARGS {kind}")),
            bulk("RangeError"),
            "{kind}"
        );
    }
}

#[test]
fn a_program_runs_under_each_isolation() {
    let server = Server::builder()
        .arguments(&["--wasm-limits-max-fuel", "1000000000"])
        .start();
    let mut client = server.client();
    for isolation in ["rewind", "fresh", "reuse"] {
        define(&mut client, isolation);
        let info = client.run("WASM.INFO p");
        assert_eq!(
            info.at("isolation_in_force").and_then(Reply::text),
            Some(isolation),
            "{info:?}"
        );
        works(&mut client);
        let counted: Vec<_> = (0..3).map(|_| client.run("WASM.CALL p.count")).collect();
        // One client's calls take the same idle instance.
        let expected = if isolation == "reuse" {
            [1, 2, 3]
        } else {
            [1; 3]
        };
        assert_eq!(counted, expected.map(Reply::Int));
    }
}

#[test]
fn a_program_runs_in_valkey_and_redis() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&["max-fuel", "1000000000"]).start();
        let mut client = engine.client();
        define(&mut client, "rewind");
        works(&mut client);
    }
}

#[test]
fn a_file_in_the_module_folder_is_loaded_by_its_path() {
    let server = Server::start();
    let modules = server.dir().join("wasm");
    fs::create_dir_all(&modules).expect("made");
    let path = modules.join("app.js");
    fs::write(&path, "export default () => { throw new Error('here') }").expect("written");
    let mut client = server.client();
    let loaded = client.run("WASM.LOAD app app.js");
    assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
    let reply = client.run("WASM.CALL app");
    assert_eq!(
        reply.error(),
        Some("TRAP Error: here (at default app.js:1:34)"),
    );
    // The function is registered by its digest, so the file is not needed again.
    fs::remove_file(path).expect("it was there");
    assert!(
        client
            .run("WASM.CALL app")
            .error()
            .is_some_and(|text| text.contains("here"))
    );
}

/// Programs that are refused, the same by every way to evaluate them.
fn refuses_what_is_wrong(client: &mut Client) {
    for (program, expected) in [
        (
            &b"export function run( {"[..],
            "INVALID SyntaxError: invalid property name (at p.js:1:23)",
        ),
        (
            b"throw new RangeError('top')",
            "INVALID RangeError: top (at <anonymous> p.js:1:11)",
        ),
        (
            b"import fs from 'node:fs'",
            "INVALID ReferenceError: there is no module 'node:fs'",
        ),
        (
            b"export const a = '\xff'",
            "INVALID p.js: the program is not UTF-8: byte 18",
        ),
        (b"let t = 'x'; for (;;) t = t + t;", "INVALID "),
        (
            b"const a = []; for (;;) a.push(new Uint8Array(1 << 24).fill(1));",
            "INVALID p.js: its top level takes more than 67108864 bytes of memory",
        ),
        (
            b"import { get } from 'ferrite-wasm'; get('k'); export function run() {}",
            "INVALID Error: get was called outside of a function call",
        ),
        (b" ", "INVALID the source is empty"),
        (
            b"export const answer = 42",
            "INVALID Error: the program exports no function",
        ),
    ] {
        let reply = client.call(&[b"WASM.DEFINE".as_slice(), b"p", b"JS", program]);
        let error = reply.error().unwrap_or_else(|| panic!("{reply:?}"));
        assert!(error.starts_with(expected), "{error}");
        assert!(error.len() < 1024, "{error}");
        assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
    }
}

#[test]
fn a_program_that_is_wrong_is_refused_and_harms_nobody() {
    let server = Server::start();
    let mut client = server.client();
    refuses_what_is_wrong(&mut client);
    let missing = client.run("WASM.CALL p");
    assert!(
        missing
            .error()
            .is_some_and(|text| text.starts_with("NOFUNC")),
        "{missing:?}"
    );
}

#[test]
fn programs_share_their_code_and_nothing_else() {
    let server = Server::start();
    let mut client = server.client();
    for isolation in ["rewind", "fresh", "reuse"] {
        for (name, start) in [("one", 10), ("two", 20)] {
            let program = format!(
                "let n = {start}; export const run = () => ++n; export const get = () => n;"
            );
            let mut words = vec!["WASM.DEFINE", name, "js", &program];
            words.extend(["ISOLATION", isolation, "REPLACE"]);
            let reply = client.call(&words);
            assert!(reply.error().is_none(), "{reply:?}");
        }
        for calls in 1..4 {
            let calls = if isolation == "reuse" { calls } else { 1 };
            assert_eq!(client.run("WASM.CALL one.run"), Reply::Int(10 + calls));
            assert_eq!(client.run("WASM.CALL two.run"), Reply::Int(20 + calls));
        }
    }
    let cache = server.dir().join("cache/wasm");
    let files = |extension| crate::bundles::workshop::files(&cache, extension);
    // The engine that has evaluated nothing has an image, too.
    assert_eq!((files("engine"), files("image"), files("cwasm")), (1, 3, 0));
    for command in ["WASM.INFO", "WASM.MEMORY"] {
        let mut of = |name: &str| {
            let reply = client.run(&format!("{command} {name}"));
            ["engine", "image_bytes"].map(|field| reply.at(field).cloned())
        };
        let ([one, size], [two, _]) = (of("one"), of("two"));
        assert!(one.is_some() && one == two, "{command}: {one:?}, {two:?}");
        assert!(
            matches!(size, Some(Reply::Int(1..16_000))),
            "{command}: {size:?}"
        );
    }
}
