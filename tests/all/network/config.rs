//! The configuration of functions, with their secrets.

use ferrite_tests::{Client, EngineKind, Reply, Server};

use super::outbox::OUTBOX;

const SECRET: &str = "s3cret-of-the-function";

fn config(client: &mut Client, name: &str) -> Reply {
    client.call(&["WASM.CALL", "f.config", "ARGS", name])
}

fn names(client: &mut Client) -> Vec<String> {
    let info = client.run("WASM.INFO f");
    let names = info.at("config").and_then(Reply::elements).expect("names");
    names
        .iter()
        .map(|name| name.text().expect("text").to_owned())
        .collect()
}

/// Goes through the life of a configuration.
fn live(client: &mut Client) {
    let json = format!(r#"{{"token": "{SECRET}", "url": "http://x"}}"#);
    let words = ["WASM.DEFINE", "f", OUTBOX, "CONFIG", &json];
    let reply = client.call(&words);
    assert!(reply.text().is_some(), "{reply:?}");
    assert_eq!(config(client, "token").text(), Some(SECRET));
    assert_eq!(config(client, "other"), Reply::Int(-1));
    assert_eq!(names(client), ["token", "url"]);

    // Code that takes the place of other code gets its configuration, unless it brings one.
    client.call(&["WASM.DEFINE", "f", OUTBOX, "REPLACE"]);
    assert_eq!(config(client, "token").text(), Some(SECRET));
    let reply = client.call(&["WASM.CONFIG", "f", r#"{"url": null, "more": "é"}"#]);
    let set = reply.elements().expect("names").iter().map(Reply::text);
    assert_eq!(set.collect::<Vec<_>>(), [Some("more"), Some("token")]);
    assert_eq!(config(client, "more").text(), Some("é"));
    assert_eq!(config(client, "url"), Reply::Int(-1));
    assert_eq!(config(client, "token").text(), Some(SECRET));
    let calls = client.run("WASM.INFO f").at("calls").and_then(Reply::int);
    assert!(calls >= Some(6), "the figures stay: {calls:?}");

    for (words, expected) in [
        (&["WASM.CONFIG", "none", "{}"][..], "NOFUNC "),
        (
            &["WASM.CONFIG", "f", "{"],
            "INVALID the configuration is not a JSON object",
        ),
        (
            &["WASM.CONFIG", "f", r#"{"a": 1}"#],
            "INVALID the configuration's value \"a\" is no text",
        ),
        (
            &["WASM.DEFINE", "g", OUTBOX, "CONFIG", "[]"],
            "INVALID the configuration is not a JSON object",
        ),
    ] {
        let reply = client.call(words);
        let error = reply
            .error()
            .unwrap_or_else(|| panic!("{words:?}: {reply:?}"));
        assert!(error.starts_with(expected), "{error}");
    }
    for line in [
        "WASM.INFO f",
        "WASM.LIST",
        "WASM.STATS",
        "WASM.ERRORS f",
        "SLOWLOG GET",
    ] {
        let shown = format!("{:?}", client.run(line));
        assert!(!shown.contains(SECRET), "{line}: {shown}");
    }
}

#[test]
fn a_function_reads_its_configuration_and_nobody_else_does() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::builder().dir(dir.path()).start();
    live(&mut server.client());
    let log = server.log();
    assert!(!log.contains(SECRET), "{log}");
    assert!(server.stop().success());
    // It is kept.
    let server = Server::builder().dir(dir.path()).start();
    let mut client = server.client();
    assert_eq!(config(&mut client, "token").text(), Some(SECRET));
    assert_eq!(names(&mut client), ["more", "token"]);
    client.call(&["WASM.DEFINE", "f", OUTBOX, "CONFIG", "{}", "REPLACE"]);
    assert_eq!(config(&mut client, "token"), Reply::Int(-1));
}

#[test]
fn the_module_keeps_configurations_too() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&[]).start();
        live(&mut engine.client());
    }
}
