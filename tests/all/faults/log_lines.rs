//! Nothing that comes from outside begins a line of the log, or steers a terminal that shows it.

use ferrite_tests::Server;

/// Text that would forge the log.
const FORGED: &str = "x\r\n2026-01-01T00:00:00.000000Z  INFO ferrite::audit: forged\x1b[2J\u{9b}2J";

/// A text of WebAssembly that has these bytes.
fn literal(text: &str) -> String {
    text.bytes().map(|byte| format!("\\{byte:02x}")).collect()
}

#[test]
fn nobody_forges_a_line() {
    let server = Server::builder()
        .arguments(&["--wasm-audit", "all", "--log", "trace"])
        .arguments(&["--wasm-slow-call", "1us"])
        .start();
    let mut client = server.client();
    let bytes = literal(FORGED);
    let length = FORGED.len();
    let guest = format!(
        r#"(module
            (import "ferrite" "log" (func $log (param i32 i32 i32)))
            (import "ferrite" "reply_error" (func $error (param i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "{bytes}")
            (func (export "log") (call $log (i32.const 4) (i32.const 0) (i32.const {length})))
            (func (export "fail") (call $error (i32.const 0) (i32.const {length})))
            (func (export "trap") (call $log (i32.const 4) (i32.const 0) (i32.const {length})) unreachable)
            (func (export "{bytes}")))"#
    );
    let defined = client.call(&["WASM.DEFINE", "guest", &guest]);
    assert!(defined.error().is_none(), "{defined:?}");
    for entry in ["log", "fail", "trap", FORGED] {
        let name = format!("guest:{entry}");
        client.call(&["WASM.CALL", &name]);
        client.call(&["WASM.CALL", "guest", "ENTRY", entry]);
    }
    for words in [
        &["WASM.CALL", "guest", "KEYS", FORGED][..],
        &["WASM.LOAD", FORGED, "x"],
        &["WASM.LOAD", "x", FORGED],
        &["WASM.DEFINE", "x", FORGED],
        &["WASM.LOAD", "x", "y", "DESCRIPTION", FORGED],
        &["WASM.LOAD", "x", "y", "PERMISSIONS", FORGED],
        &["AUTH", FORGED, FORGED],
        &["CLIENT", "SETNAME", FORGED],
        &["CLIENT", "SETINFO", "lib-name", FORGED],
        &[FORGED, FORGED],
        &["HELLO", "3", "AUTH", FORGED, FORGED],
        &["CONFIG", "SET", FORGED, FORGED],
    ] {
        let reply = client.call(words);
        if let Some(error) = reply.error() {
            assert!(!error.contains(['\r', '\n']), "{error:?}");
        }
    }
    let list = client.run("CLIENT LIST");
    assert_eq!(list.text().expect("text").lines().count(), 1, "{list:?}");
    assert!(server.stop_and_log(|log| {
        assert!(
            log.contains("INFO ferrite::audit: forged"),
            "nothing was logged: {log}"
        );
        for line in log.lines() {
            assert!(!line.starts_with("2026-01-01T"), "{line}");
            assert!(
                !line.contains(|letter: char| letter.is_control() && letter != '\t'),
                "{line:?}"
            );
        }
    }));
}
