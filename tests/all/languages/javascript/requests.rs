//! Requests of programs in JavaScript, by `fetch` and after the commit.

use ferrite_tests::{Client, Reply, Server};

use super::bulk;
use crate::network::receiver::{ReceivingServer, free_port, url};

const PROGRAM: &str = include_str!("requests.js");

const OPEN: &str = "[wasm.security]\nallow_network = [\"http://127.0.0.1:*\"]\nallow_private_network = [\"127.0.0.1\"]\n";

fn define(client: &mut Client, isolation: &str) {
    let permissions =
        r#"{"allow_write": true, "allow_network": ["GET,POST http://127.0.0.1:*/open*"]}"#;
    let reply = client.call(&[
        "WASM.DEFINE",
        "p",
        "JS",
        PROGRAM,
        "PERMISSIONS",
        permissions,
        "ISOLATION",
        isolation,
        "CONFIG",
        r#"{"token": "t0ken"}"#,
        "REPLACE",
    ]);
    let defined = reply.text().is_some_and(|text| text.starts_with("blake3:"));
    assert!(defined, "{reply:?}");
}

#[test]
fn a_program_fetches_as_in_a_browser() {
    let receiver = ReceivingServer::start();
    let server = Server::builder().config(OPEN).start();
    let mut client = server.client();
    let open = receiver.url("/open");
    for isolation in ["rewind", "fresh", "reuse"] {
        define(&mut client, isolation);
        receiver.answer(&[201]);
        let reply = client.call(&["WASM.CALL", "p.ask", "KEYS", "k", "ARGS", &open, "grüße"]);
        let expected = vec![
            Reply::Int(201),
            Reply::Int(1),
            bulk(&open),
            bulk("2"),
            bulk("ok"),
            bulk("ok"),
        ];
        assert_eq!(reply, Reply::Array(expected), "{isolation}");
        let arrived = receiver.next();
        let told = (&*arrived.method, &*arrived.target, &*arrived.body);
        assert_eq!(told, ("POST", "/open", "grüße"));
        assert_eq!(client.run("GETDEL k"), bulk("asked"));

        receiver.answer(&[404, 500]);
        let reply = client.call(&["WASM.CALL", "p.together", "ARGS", &open, &open]);
        assert_eq!(
            reply,
            Reply::Array(vec![Reply::Int(404), Reply::Int(500)]),
            "{isolation}"
        );
        assert_eq!(
            (receiver.next().method, receiver.next().method),
            ("GET".into(), "GET".into())
        );
    }
    let Reply::Array(standard) = client.run("WASM.CALL p.standard") else {
        panic!("an array");
    };
    assert_eq!(standard[0], Reply::Null);
    assert_eq!(standard[1], Reply::Int(1));
    assert_eq!(standard[2], bulk("application/json"));
    assert_eq!(
        standard[3].at("a"),
        Some(&Reply::Array(vec![Reply::Int(1)]))
    );
}

#[test]
fn a_request_without_a_response_is_an_error_reply() {
    let receiver = ReceivingServer::start();
    let server = Server::builder().config(OPEN).start();
    let mut client = server.client();
    define(&mut client, "rewind");
    let mut caught = |url: &str| client.call(&["WASM.CALL", "p.caught", "ARGS", url]);
    for (target, code) in [
        (receiver.url("/closed"), "NOPERM"),
        (url(free_port(), "/open"), "CONNECT"),
        ("http://user@127.0.0.1/open".to_owned(), "INVALID"),
        ("ftp://127.0.0.1/open".to_owned(), "INVALID"),
    ] {
        let expected = vec![Reply::Int(1), bulk(code)];
        assert_eq!(caught(&target), Reply::Array(expected), "{target}");
    }
    // Nobody catches it: it is the reply, and what was written before is kept.
    let closed = receiver.url("/closed");
    let reply = client.call(&["WASM.CALL", "p.uncaught", "KEYS", "k", "ARGS", &closed]);
    let error = reply.error().expect("an error");
    assert!(error.starts_with("NOPERM http \"http://"), "{error}");
    assert_eq!(client.run("GETDEL k"), bulk("kept"));
    // A body that is no JSON is an error of the program.
    let open = receiver.url("/open");
    let reply = client.call(&["WASM.CALL", "p.uncaught", "KEYS", "k", "ARGS", &open]);
    let error = reply.error().expect("an error");
    assert!(error.starts_with("TRAP SyntaxError"), "{error}");
    assert_eq!(client.run("EXISTS k"), Reply::Int(0));
    assert_eq!(receiver.next().target, "/open");
    // A program's top level makes none.
    let top = "await fetch('http://127.0.0.1/open'); export const f = () => 1";
    let reply = client.call(&["WASM.DEFINE", "q", "JS", top]);
    let error = reply.error().expect("an error");
    assert!(
        error.contains("fetch was called outside of a function call"),
        "{error}"
    );
    assert_eq!(receiver.arrived.try_iter().count(), 0);
}

#[test]
fn a_program_adds_requests_to_its_commit() {
    let receiver = ReceivingServer::start();
    let server = Server::builder().config(OPEN).start();
    let mut client = server.client();
    define(&mut client, "rewind");
    let open = receiver.url("/open");
    let reply = client.call(&["WASM.CALL", "p.fails", "ARGS", &open]);
    assert!(
        reply.error().is_some_and(|text| text.starts_with("TRAP ")),
        "{reply:?}"
    );
    let reply = client.call(&["WASM.CALL", "p.tell", "KEYS", "k", "ARGS", &open]);
    let key = reply.text().unwrap_or_else(|| panic!("{reply:?}"));
    let arrived = receiver.next();
    assert_eq!(arrived.key, key);
    assert_eq!(arrived.body, r#"{"a":1}"#);
    assert_eq!(client.run("GET k"), bulk("told"));
    assert_eq!(receiver.arrived.try_iter().count(), 0);
}
