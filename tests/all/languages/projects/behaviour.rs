//! Things that every SDK does alike: how it reads numbers, and what its users see when they print or fail.
//!
//! The functions are in `functions`, one file a language. Each replaces the source of a new project.

use std::fs;
use std::path::Path;

use ferrite_compiler::preinit::preinit;
use ferrite_compiler::{Preinit, PreinitChoice};
use ferrite_tests::{Client, Reply, Server};

use super::{is_there, printed};
use crate::network::receiver::{ReceivingServer, free_port, url};

const OPEN: &str = "[wasm]\ncompile_timeout = \"10m\"\n[wasm.security]\nallow_network = [\"http://127.0.0.1:*\"]\nallow_private_network = [\"127.0.0.1\"]\n";

/// The rule that lets functions make requests.
const PERMISSIONS: &str = r#"{"allow_write": true, "allow_network": ["http://127.0.0.1:*/open"]}"#;

/// Texts, and the number that each is read as; nothing if it is refused.
type Numbers = Vec<(String, Option<String>)>;

/// Builds a project with these functions; `None` without the language's tools.
fn build(language: &str, source: &str, functions: &str) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let folder = folder.path();
    if !is_there(language, folder) {
        return None;
    }
    let wasmc = "ferrite-wasmc";
    printed(wasmc, &["new", "project", "--lang", language], folder);
    let project = folder.join("project");
    fs::write(project.join(source), functions).expect("it can be written");
    printed(wasmc, &["build"], &project);
    Some(fs::read(project.join("build/project.wasm")).expect("it was built"))
}

/// Builds a project with these functions and loads it as `m`; `None` without the language's tools.
fn load(language: &str, source: &str, functions: &str) -> Option<(Server, Client)> {
    build(language, source, functions).map(|wasm| serve(&wasm, "{}"))
}

/// Starts a server and loads the module as `m`, with these limits.
fn serve(wasm: &[u8], limits: &str) -> (Server, Client) {
    let server = Server::builder().config(OPEN).start();
    let mut client = server.client();
    let words: [&[u8]; 9] = [
        b"WASM.LOAD",
        b"m",
        wasm,
        b"PERMISSIONS",
        PERMISSIONS.as_bytes(),
        b"LIMITS",
        limits.as_bytes(),
        b"CONFIG",
        r#"{"token": "tökens"}"#.as_bytes(),
    ];
    let loaded = client.call(&words);
    assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
    (server, client)
}

fn call(client: &mut Client, entry: &str, argument: &str) -> Reply {
    client.call(&["WASM.CALL", &format!("m.{entry}"), "ARGS", argument])
}

/// The text of an error reply.
fn error(client: &mut Client, entry: &str, argument: Option<&str>) -> String {
    let entry = format!("m.{entry}");
    let mut words = vec!["WASM.CALL", &entry];
    words.extend(argument.iter().flat_map(|argument| ["ARGS", argument]));
    let reply = client.call(&words);
    let text = reply.error();
    text.unwrap_or_else(|| panic!("{entry}: {reply:?}"))
        .to_owned()
}

fn numbers_are_read_as_in_the_table(client: &mut Client) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/number-cases.json");
    let table = fs::read_to_string(path).expect("the table is there");
    let table: serde_json::Value = serde_json::from_str(&table).expect("it is JSON");
    let cases = |kind: &str| -> Numbers {
        let cases = serde_json::from_value(table[kind].clone()).expect("it is a list of pairs");
        assert!(<Numbers as AsRef<[_]>>::as_ref(&cases).len() > 30);
        cases
    };
    for (text, expected) in cases("integer") {
        let reply = call(client, "integer", &text);
        match expected {
            Some(number) => {
                let number = number.parse().expect("an integer");
                assert_eq!(reply, Reply::Int(number), "{text:?}");
            }
            None => refused(&reply, &text),
        }
    }
    for (text, expected) in cases("float") {
        let reply = call(client, "float", &text);
        match expected {
            Some(number) => {
                let number: f64 = number.parse().expect("a number");
                let found = reply.text().and_then(|text| text.parse::<f64>().ok());
                let found = found.unwrap_or_else(|| panic!("{text:?}: {reply:?}"));
                assert_eq!(found.to_bits(), number.to_bits(), "{text:?}: {reply:?}");
            }
            None => refused(&reply, &text),
        }
    }
}

/// The error names the parameter and the type.
fn refused(reply: &Reply, text: &str) {
    let error = reply.error().unwrap_or_default();
    assert!(
        error.contains(": 'n' (ARGS[1], ") && error.contains(") must be a"),
        "{text:?}: {reply:?}"
    );
}

fn what_is_printed_is_logged(server: &Server, client: &mut Client) {
    assert_eq!(call(client, "print", "ä b"), Reply::Simple("OK".into()));
    let log = server.log();
    let line = log.lines().find(|line| line.contains("printed ä b"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.contains("INFO") && line.contains("ferrite::guest"),
        "{line}"
    );
}

/// The texts of an array; integers as their digits.
fn texts(reply: &Reply) -> Vec<String> {
    let items = reply.elements().unwrap_or_else(|| panic!("{reply:?}"));
    let text = |item: &Reply| match item.int() {
        Some(number) => number.to_string(),
        None => item
            .text()
            .unwrap_or_else(|| panic!("{reply:?}"))
            .to_owned(),
    };
    items.iter().map(text).collect()
}

fn requests_are_made(client: &mut Client) {
    let receiver = ReceivingServer::start();
    let open = receiver.url("/open");
    receiver.answer(&[404]);
    let reply = call(client, "ask", &open);
    assert_eq!(texts(&reply), ["404", "ok", "2", &open]);
    let arrived = receiver.next();
    assert_eq!((&*arrived.method, &*arrived.body), ("POST", "body"));
    for (target, code) in [
        (receiver.url("/closed"), "NOPERM"),
        (url(free_port(), "/open"), "CONNECT"),
        ("nonsense".to_owned(), "INVALID"),
    ] {
        let error = error(client, "ask", Some(&target));
        assert!(error.starts_with(code), "{target}: {error}");
    }
    let reply = call(client, "tell", &open);
    let arrived = receiver.next();
    assert_eq!((&*arrived.method, &*arrived.body), ("POST", "later"));
    assert_eq!(texts(&reply), [&*arrived.key, "tökens", "none"]);
    let error = error(client, "tell", Some(&receiver.url("/closed")));
    assert!(error.starts_with("NOPERM"), "{error}");
    assert_eq!(receiver.arrived.try_iter().count(), 0);
}

/// Some pages of keys, and a name long enough to be told from other memory.
const KEYS: usize = 1_200;

fn fill(client: &mut Client, keys: usize, name_bytes: usize) {
    for first in (0..keys).step_by(1_000) {
        let mut words = vec!["MSET".to_owned()];
        for number in first..keys.min(first + 1_000) {
            words.extend([format!("k:{number:0name_bytes$}"), number.to_string()]);
        }
        assert_eq!(client.call(&words), Reply::Simple("OK".into()));
    }
}

fn set_limit(client: &mut Client, limit: &str, value: u64) {
    let reply = client.run(&format!("CONFIG SET wasm.limits.{limit} {value}"));
    assert_eq!(reply, Reply::Simple("OK".into()));
}

fn keys_come_page_by_page(client: &mut Client) {
    set_limit(client, "max_fuel", 1_000_000_000);
    fill(client, KEYS, 1);
    for (pattern, count) in [("k:*", KEYS as i64), ("k:11?", 10), ("none:*", 0)] {
        assert_eq!(
            call(client, "keys", pattern),
            Reply::Int(count),
            "{pattern}"
        );
    }
}

/// Loading the module has added what its function `watched` declares.
fn what_it_declares_is_added(client: &mut Client, more: &[&str]) {
    let info = client.run("WASM.INFO m");
    let lines = info.at("declares").and_then(Reply::elements);
    let lines = lines.unwrap_or_else(|| panic!("nothing is declared: {info:?}"));
    let mut lines: Vec<_> = lines.iter().filter_map(Reply::text).collect();
    lines.sort_unstable();
    let mut expected = vec![
        "cron watched \"0 3 1 1 *\" MISSED once KEYS k ARGS x \"y z\"",
        "every watched 365d",
        "on watched KEYS \"a b\" order:* EVENTS set del",
    ];
    expected.extend(more);
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let triggers = client.run("WASM.TRIGGER LIST");
    let name = triggers
        .elements()
        .and_then(|list| list[0].at("name")?.text());
    assert_eq!(name, Some("m:watched"));
    let schedules = client.run("WASM.SCHEDULE LIST");
    let count = schedules.elements().map(<[_]>::len);
    assert_eq!(count, Some(expected.len() - 1));
}

#[test]
fn rust() {
    let functions = include_str!("functions/functions.rs");
    let Some((server, mut client)) = load("rust", "src/lib.rs", functions) else {
        return;
    };
    numbers_are_read_as_in_the_table(&mut client);
    what_is_printed_is_logged(&server, &mut client);
    requests_are_made(&mut client);
    keys_come_page_by_page(&mut client);
    what_it_declares_is_added(&mut client, &[]);
    assert_eq!(
        error(&mut client, "fail", Some("x")),
        "TRAP panic: on purpose: x (src/lib.rs:22)"
    );
    let overflow = error(&mut client, "overflow", None);
    assert!(
        overflow.starts_with("STACK in wasm function \"") && overflow.contains("deeper"),
        "{overflow}"
    );
}

#[test]
fn assemblyscript() {
    let functions = include_str!("functions/functions.ts");
    let Some((server, mut client)) = load("assemblyscript", "assembly/index.ts", functions) else {
        return;
    };
    numbers_are_read_as_in_the_table(&mut client);
    what_is_printed_is_logged(&server, &mut client);
    requests_are_made(&mut client);
    keys_come_page_by_page(&mut client);
    what_it_declares_is_added(&mut client, &[]);
    assert_eq!(
        error(&mut client, "fail", Some("x")),
        "TRAP panic: on purpose: x (assembly/index.ts:16)"
    );
    let overflow = error(&mut client, "overflow", None);
    assert!(
        overflow.starts_with("STACK in wasm function \"assembly/index/deeper\""),
        "{overflow}"
    );
    assert_eq!(
        call(&mut client, "half", "😀"),
        Reply::Bulk("\u{fffd}".into())
    );
    assert_eq!(client.run("WASM.CALL m.library"), Reply::Int(1));
}

#[test]
fn typescript() {
    let functions = include_str!("functions/module.ts");
    let Some((server, mut client)) = load("typescript", "src/index.ts", functions) else {
        return;
    };
    numbers_are_read_as_in_the_table(&mut client);
    what_is_printed_is_logged(&server, &mut client);
    requests_are_made(&mut client);
    keys_come_page_by_page(&mut client);
    what_it_declares_is_added(&mut client, &[]);
    assert_eq!(error(&mut client, "refuse", Some("x")), "REFUSED x");
    // Positions are those of the source, not of the bundle.
    assert_eq!(
        error(&mut client, "fail", Some("x")),
        "TRAP Error: on purpose: x (at inner src/index.ts:21:36)"
    );
    let overflow = error(&mut client, "overflow", None);
    assert!(
        overflow.starts_with(
            "TRAP RangeError: Maximum call stack size exceeded (at deeper src/index.ts:29:"
        ),
        "{overflow}"
    );
    assert_eq!(
        call(&mut client, "half", "😀"),
        Reply::Bulk("\u{fffd}".into())
    );
    assert_eq!(client.run("WASM.CALL m.library"), Reply::Int(1));
    assert_eq!(
        client.run("WASM.CALL m.later"),
        Reply::Array(vec![Reply::Int(2), Reply::Int(4), Reply::Int(0)])
    );
}

#[test]
fn go() {
    let functions = include_str!("functions/functions.go.txt");
    let Some((server, mut client)) = load("go", "functions.go", functions) else {
        return;
    };
    numbers_are_read_as_in_the_table(&mut client);
    what_is_printed_is_logged(&server, &mut client);
    requests_are_made(&mut client);
    keys_come_page_by_page(&mut client);
    what_it_declares_is_added(&mut client, &[]);
    for entry in ["fail", "fail_late"] {
        assert_eq!(
            error(&mut client, entry, Some(entry)),
            format!("TRAP panic: on purpose: {entry}")
        );
        // One entry has the message, the goroutine and the place.
        let log = server.log();
        let about: Vec<_> = log
            .lines()
            .filter(|line| line.contains("ferrite::guest") && line.contains("on purpose"))
            .filter(|line| line.contains(&format!("on purpose: {entry}\\n")))
            .collect();
        assert_eq!(about.len(), 1, "{log}");
        assert!(
            about[0].contains("goroutine 1 [running]") && about[0].contains("functions.go:"),
            "{log}"
        );
    }
    assert!(!server.log().contains("[recovered"), "{}", server.log());
    assert_eq!(
        error(&mut client, "deadlock", None),
        "TRAP fatal error: all goroutines are asleep - deadlock!"
    );
}

#[test]
fn c() {
    let functions = include_str!("functions/functions.c");
    let Some((server, mut client)) = load("c", "src/functions.c", functions) else {
        return;
    };
    numbers_are_read_as_in_the_table(&mut client);
    what_is_printed_is_logged(&server, &mut client);
    requests_are_made(&mut client);
    keys_come_page_by_page(&mut client);
    what_it_declares_is_added(&mut client, &["cron watched \"0 4 1 1 *\""]);
    assert_eq!(
        error(&mut client, "fail", Some("x")),
        "TRAP panic: on purpose: x"
    );
    let overflow = error(&mut client, "overflow", None);
    assert!(
        overflow.starts_with("STACK in wasm function \"deeper\""),
        "{overflow}"
    );
    assert_eq!(
        error(&mut client, "half", Some("😀")),
        "ERR a reply must be UTF-8 text, not \"\\xf0\\x9f\""
    );
    assert_eq!(call(&mut client, "some_keys", "k:*"), Reply::Int(1));
    a_heap_from_the_start_does_not_grow(&mut client);
    names_of_earlier_pages_take_no_memory(&server, &mut client);
}

/// The functions have 128 KiB, and a heap of 256 KiB from their start.
fn a_heap_from_the_start_does_not_grow(client: &mut Client) {
    for blocks in ["0", "3"] {
        let profile = client.call(&["WASM.PROFILE", "m.heap", "ARGS", blocks]);
        let profile = profile.elements().expect("a profile");
        let memory = profile
            .array_windows()
            .find(|[name, _]| name.text() == Some("memory_bytes"))
            .map(|[_, bytes]| bytes);
        assert_eq!(memory, Some(&Reply::Int(384 << 10)), "{blocks}");
    }
}

/// The names of all keys together have four times as many bytes as the function may use.
fn names_of_earlier_pages_take_no_memory(server: &Server, client: &mut Client) {
    const KEYS: usize = 20_000;
    set_limit(client, "max_memory", 1 << 20);
    fill(client, KEYS, 200);
    let count = KEYS as i64 + 1_200;
    assert_eq!(
        call(client, "keys", "k:*"),
        Reply::Int(count),
        "{}",
        server.log()
    );
}

/// Number of data segments of a module.
fn data_segments(wasm: &[u8]) -> u32 {
    let mut payloads = wasmparser::Parser::new(0).parse_all(wasm);
    payloads
        .find_map(|payload| match payload.expect("it was built") {
            wasmparser::Payload::DataSection(section) => Some(section.count()),
            _ => None,
        })
        .unwrap_or(0)
}

#[test]
fn go_with_its_package_for_http() {
    let functions = include_str!("../../../../benches/functions/go_http/functions.go");
    let Some(wasm) = build("go", "functions.go", functions) else {
        return;
    };
    // Go's linker stops at the most that an engine takes, and its runtime starts when the module is compiled.
    assert_eq!(data_segments(&wasm), 100_000);
    let started = preinit(&wasm, PreinitChoice::Marked);
    assert_eq!(started.preinit, Preinit::Done);

    // Its table has more functions than one may have by default.
    let (_server, mut client) = serve(&wasm, r#"{"max_table_elements": 20000}"#);
    let request = "PUT /a/b?c HTTP/1.1\r\nHost: c\r\nX-One: two\r\n\r\n";
    let reply = call(&mut client, "parse", request);
    assert_eq!(texts(&reply), ["PUT", "/a/b", "two", "I'm a teapot"]);
    let wrong = error(&mut client, "parse", Some("no request"));
    assert!(wrong.contains("malformed HTTP"), "{wrong}");

    let receiver = ReceivingServer::start();
    receiver.answer(&[404]);
    let reply = call(&mut client, "ask", &receiver.url("/open"));
    assert_eq!(texts(&reply), ["404", "ok", "2"]);
    let arrived = receiver.next();
    assert_eq!((&*arrived.method, &*arrived.body), ("POST", "body"));
    let refused = error(&mut client, "ask", Some(&receiver.url("/closed")));
    assert!(refused.contains("NOPERM"), "{refused}");
    assert_eq!(receiver.arrived.try_iter().count(), 0);
}
