//! Functions that are invalid or do harm: each gets a clear error, and no other client suffers.

use std::os::unix::fs::symlink;

use ferrite_tests::{Client, Reply, Server};

use crate::support::guests::{ADD1, ENDLESS, GROW, LONG_CALLS, RECURSE, WRITE_THEN_LOOP};

/// Requests, as words, and the start of their error.
type Refusal<'a> = (&'a str, Vec<Vec<u8>>, &'a str);

fn words(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn refused(client: &mut Client, refusals: &[Refusal<'_>]) {
    for (name, request, start) in refusals {
        let reply = client.call(request);
        let error = reply
            .error()
            .unwrap_or_else(|| panic!("{name} was taken: {reply:?}"));
        assert!(
            error.starts_with(start),
            "{name}: {error:?} does not start with {start:?}"
        );
        assert!(
            error.len() < 1024,
            "{name}: the error is {} bytes long",
            error.len()
        );
        assert_eq!(
            client.run("PING"),
            Reply::Simple("PONG".into()),
            "after {name}"
        );
    }
}

const WASM: &[u8] = b"\0asm\x01\0\0\0";

#[test]
fn bad_sources_are_refused() {
    let server = Server::start();
    let modules = server.dir().join("wasm");
    std::fs::create_dir_all(&modules).expect("made");
    std::fs::write(server.dir().join("secret.wat"), ADD1).expect("written");
    symlink(server.dir().join("secret.wat"), modules.join("link.wat")).expect("linked");
    symlink(server.dir(), modules.join("up")).expect("linked");
    let outside = server
        .dir()
        .join("secret.wat")
        .to_str()
        .expect("UTF-8")
        .to_owned();
    let load = |source: &[u8]| vec![b"WASM.LOAD".to_vec(), b"f".to_vec(), source.to_vec()];
    let unknown = format!("blake3:{}", "0".repeat(64));
    let truncated = [WASM, b"\x01\x05\x01\x60"].concat();
    refused(
        &mut server.client(),
        &[
            (
                "a path outside module_dir",
                load(outside.as_bytes()),
                "NOPERM ",
            ),
            ("a path that climbs", load(b"../secret.wat"), "NOPERM "),
            (
                "a path that climbs later",
                load(b"deep/../../secret.wat"),
                "NOPERM ",
            ),
            ("a link that leads out", load(b"link.wat"), "NOPERM "),
            ("a folder that leads out", load(b"up/secret.wat"), "NOPERM "),
            (
                "a file that is not there",
                load(b"nothing.wasm"),
                "INVALID ",
            ),
            ("bad base64", load(b"AGFzbQEAAAA$"), "INVALID "),
            (
                "a digest that is not in the cache",
                load(unknown.as_bytes()),
                "NOARTIFACT ",
            ),
            ("half a digest", load(b"blake3:1234"), "INVALID "),
            ("no source", load(b""), "INVALID "),
            ("not wasm", load(b"\x7fELF\x02\x01\x01"), "INVALID "),
            ("truncated wasm", load(&truncated), "INVALID "),
            ("a module of nothing", load(WASM), "INVALID "),
        ],
    );
}

#[test]
fn bad_modules_are_refused() {
    let server = Server::start();
    let define = |wat: &str| words(&["WASM.DEFINE", "f", wat]);
    refused(
        &mut server.client(),
        &[
            ("not WAT", define("(module (func"), "INVALID "),
            (
                "an unknown import",
                define(r#"(module (import "env" "system" (func)) (func (export "run")))"#),
                "INVALID ",
            ),
            (
                "an import of ours with a wrong signature",
                define(
                    r#"(module (import "ferrite" "get" (func (param i32))) (func (export "run")))"#,
                ),
                "INVALID ",
            ),
            (
                "no entry",
                define(r#"(module (memory (export "memory") 1))"#),
                "INVALID ",
            ),
            (
                "a feature that is off",
                define(r#"(module (memory i64 1) (func (export "run")))"#),
                "INVALID ",
            ),
            (
                "an exception",
                define(r#"(module (tag $t) (func (export "run") (throw $t)))"#),
                "INVALID ",
            ),
        ],
    );
}

#[test]
fn bad_names_and_options_are_refused() {
    let server = Server::start();
    let long = "n".repeat(10 * 1024 * 1024);
    let with = |options: &[&str]| {
        let mut request = words(&["WASM.DEFINE", "f", ADD1]);
        request.extend(words(options));
        request
    };
    refused(
        &mut server.client(),
        &[
            (
                "an empty name",
                words(&["WASM.DEFINE", "", ADD1]),
                "INVALID ",
            ),
            (
                "a name with a space",
                words(&["WASM.DEFINE", "a b", ADD1]),
                "INVALID ",
            ),
            (
                "a name with a line break",
                words(&["WASM.DEFINE", "a\r\nb", ADD1]),
                "INVALID ",
            ),
            (
                "a name with a dot",
                words(&["WASM.DEFINE", "a.b", ADD1]),
                "INVALID ",
            ),
            (
                "a name of 10 MB",
                words(&["WASM.DEFINE", &long, ADD1]),
                "INVALID ",
            ),
            (
                "a call of a name of 10 MB",
                words(&["WASM.CALL", &long]),
                "NOFUNC ",
            ),
            (
                "permissions that are no JSON",
                with(&["PERMISSIONS", "{"]),
                "INVALID ",
            ),
            (
                "an unknown permission",
                with(&["PERMISSIONS", r#"{"fly":true}"#]),
                "INVALID ",
            ),
            (
                "permissions for an unknown command",
                with(&["PERMISSIONS", r#"{"allowed_commands":["FLY"]}"#]),
                "INVALID ",
            ),
            (
                "the network",
                with(&["PERMISSIONS", r#"{"allow_network":true}"#]),
                "INVALID ",
            ),
            (
                "limits that are no JSON",
                with(&["LIMITS", "16MB"]),
                "INVALID ",
            ),
            (
                "a negative limit",
                with(&["LIMITS", r#"{"max_memory":-1}"#]),
                "INVALID ",
            ),
            (
                "an unknown limit",
                with(&["LIMITS", r#"{"max_colour":1}"#]),
                "INVALID ",
            ),
            ("an unknown isolation", with(&["ISOLATION", "none"]), ""),
            ("an option without its value", with(&["LIMITS"]), ""),
            ("an unknown option", with(&["COLOUR", "red"]), ""),
            ("an option twice", with(&["REPLACE", "REPLACE"]), ""),
        ],
    );
}

#[test]
fn bad_calls_are_refused() {
    let server = Server::start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "add1", ADD1]);
    assert!(reply.error().is_none(), "{reply:?}");
    let call = |line: &str| words(&line.split(' ').collect::<Vec<_>>());
    refused(
        &mut client,
        &[
            ("an unknown function", call("WASM.CALL nothing"), "NOFUNC "),
            (
                "an unknown entry",
                call("WASM.CALL add1.walk ARGS 1"),
                "NOFUNC ",
            ),
            (
                "no function",
                call("WASM.CALL"),
                "ERR wrong number of arguments",
            ),
            (
                "no arguments for a scalar",
                call("WASM.CALL add1"),
                "INVALID ",
            ),
            (
                "too many arguments for a scalar",
                call("WASM.CALL add1 ARGS 1 2"),
                "INVALID ",
            ),
            (
                "an argument of the wrong type",
                call("WASM.CALL add1 ARGS one"),
                "INVALID ",
            ),
            (
                "an argument out of range",
                call("WASM.CALL add1 ARGS 4294967296"),
                "INVALID ",
            ),
            (
                "an empty argument",
                call("WASM.CALL add1 ARGS "),
                "INVALID ",
            ),
            ("a negative numkeys", call("FCALL add1 -1"), ""),
            ("a numkeys beyond the arguments", call("FCALL add1 2 k"), ""),
            ("a numkeys that is no number", call("FCALL add1 x"), ""),
            (
                "a numkeys of 2^64",
                call("FCALL add1 18446744073709551616 k"),
                "",
            ),
            (
                "a timeout that is no number",
                call("WASM.CALL add1 TIMEOUT x"),
                "",
            ),
            (
                "a timeout without number",
                call("WASM.CALL add1 TIMEOUT"),
                "",
            ),
            ("an unknown option", call("WASM.CALL add1 COLOUR red"), ""),
        ],
    );
}

#[test]
fn runaway_functions_end_at_their_limits() {
    let server = Server::builder().arguments(&LONG_CALLS).start();
    let mut client = server.client();
    let cases = [
        (
            "fuel",
            ENDLESS,
            r#"{"max_fuel":100000}"#,
            "WASM.CALL f",
            "FUEL ",
        ),
        (
            "time",
            ENDLESS,
            r#"{"max_time":"20ms"}"#,
            "WASM.CALL f",
            "TIMEOUT ",
        ),
        (
            "a shorter timeout",
            ENDLESS,
            "{}",
            "WASM.CALL f TIMEOUT 20",
            "TIMEOUT ",
        ),
        ("recursion", RECURSE, "{}", "WASM.CALL f ARGS 0", "STACK "),
        (
            "memory",
            GROW,
            r#"{"max_memory":"1MB"}"#,
            "WASM.CALL f ARGS 1000",
            "MEMORY ",
        ),
    ];
    for (name, source, limits, call, start) in cases {
        let reply = client.call(&["WASM.DEFINE", "f", source, "LIMITS", limits, "REPLACE"]);
        assert!(reply.error().is_none(), "{name}: {reply:?}");
        let reply = client.run(call);
        let error = reply.error().unwrap_or_else(|| panic!("{name}: {reply:?}"));
        assert!(error.starts_with(start), "{name}: {error}");
    }
}

#[test]
fn what_a_failed_call_wrote_is_nowhere() {
    let server = Server::start();
    let mut client = server.client();
    let reply = client.call(&[
        "WASM.DEFINE",
        "f",
        WRITE_THEN_LOOP,
        "PERMISSIONS",
        r#"{"allowed_keys":["*"],"allow_write":true}"#,
        "LIMITS",
        r#"{"max_fuel":100000}"#,
    ]);
    assert!(reply.error().is_none(), "{reply:?}");
    let reply = client.run("WASM.CALL f KEYS k");
    assert!(
        reply
            .error()
            .expect("it runs out of fuel")
            .starts_with("FUEL "),
        "{reply:?}"
    );
    assert_eq!(client.run("EXISTS k"), Reply::Int(0));
}

#[test]
fn an_endless_function_delays_nobody() {
    let server = Server::builder().arguments(&LONG_CALLS).start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "endless", ENDLESS]);
    assert!(reply.error().is_none(), "{reply:?}");
    let mut endless: Vec<Client> = (0..8).map(|_| server.client()).collect();
    for caller in &mut endless {
        caller.send(b"WASM.CALL endless\r\n");
    }
    for number in 1..=1000 {
        assert_eq!(client.run("INCR n"), Reply::Int(number));
    }
    drop(endless);
}

#[test]
fn without_a_compiler_raw_sources_are_refused_with_what_to_do() {
    let server = Server::builder().without_compiler().start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "add1", ADD1]);
    let error = reply.error().expect("there is no compiler");
    assert!(error.starts_with("NOARTIFACT "), "{error}");
    assert!(error.contains("ferrite-wasmc"), "{error}");
    assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
}
