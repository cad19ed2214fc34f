//! The standalone server.

use std::thread;

use ferrite_tests::{Reply, Server};

use super::peer::Peer;
use super::{CALL, call, define, hello, request};

const OPEN: &str = "[wasm.security]\nallow_network = [\"http://127.0.0.1:*\"]\nallow_private_network = [\"127.0.0.1\"]\n";

#[test]
fn nothing_is_allowed_by_default() {
    let peer = Peer::start();
    let server = Server::start();
    let mut client = server.client();
    let permissions = format!(r#"{{"allow_network": ["{}"]}}"#, peer.url("/*"));
    let reply = client.call(&["WASM.DEFINE", "f", CALL, "PERMISSIONS", &permissions]);
    let error = reply.error().expect("an error").to_owned();
    assert!(error.starts_with("NOPERM allow_network has "), "{error}");
    client.call(&["WASM.DEFINE", "f", CALL, "PERMISSIONS", "read-write"]);
    assert_eq!(call(&mut client, &peer.url("/")), Reply::Int(-16));
    let errors = format!("{:?}", client.call(&["WASM.ERRORS", "f"]));
    assert!(
        errors.contains("matches nothing in allow_network"),
        "{errors}"
    );
    assert_eq!(peer.count(), 0);

    // A private address is refused even if the server allows every host.
    let server = Server::builder()
        .config("[wasm.security]\nallow_network = [\"http://*:*\"]\n")
        .start();
    let mut client = server.client();
    define(&mut client, &peer);
    let reply = format!("{:?}", call(&mut client, &peer.url("/")));
    assert!(
        reply.contains("-ADDRESS host 127.0.0.1 is 127.0.0.1, a loopback address"),
        "{reply}"
    );
    assert_eq!(peer.count(), 0);
}

#[test]
fn a_call_makes_its_request_and_is_told_of() {
    let peer = Peer::start();
    let server = Server::builder().config(OPEN).start();
    let mut client = server.client();
    define(&mut client, &peer);
    let url = peer.url("/hello");
    assert_eq!(call(&mut client, &url), hello(&url));
    let info = client.call(&["WASM.INFO", "f"]);
    let permissions = info
        .at("permissions")
        .and_then(|it| it.text())
        .expect("permissions");
    assert!(
        permissions.contains(&format!(r#""allow_network":["GET {}"]"#, peer.url("/*"))),
        "{permissions}"
    );
    let profile = format!(
        "{:?}",
        client.call(&["WASM.PROFILE", "f", "ARGS", &request(&url)])
    );
    assert!(profile.contains("http"), "{profile}");
    assert_eq!(peer.count(), 2);
    let log = server.log();
    assert!(log.contains("request") && log.contains(&url), "{log}");

    // The rules are kept, and the function works after a restart.
    assert_eq!(client.call(&["GET", "n"]).text(), Some("1"));
}

#[test]
fn a_transaction_makes_no_request() {
    let peer = Peer::start();
    let server = Server::builder().config(OPEN).start();
    let mut client = server.client();
    define(&mut client, &peer);
    client.run("MULTI");
    call(&mut client, &peer.url("/"));
    let reply = format!("{:?}", client.run("EXEC"));
    assert!(reply.contains("-UNAVAILABLE "), "{reply}");
    assert_eq!(peer.count(), 0);
}

#[test]
fn a_waiting_call_delays_nobody_and_can_be_killed() {
    let peer = Peer::start();
    let server = Server::builder().config(OPEN).start();
    let mut client = server.client();
    define(&mut client, &peer);
    let url = peer.url("/silent");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| call(&mut server.client(), &url));
        assert_eq!(peer.requests.recv().as_deref(), Ok("/silent"));
        // Others write the key that the waiting call has read.
        assert_eq!(client.run("SET n 5"), Reply::Simple("OK".into()));
        assert_eq!(client.run("WASM.KILL f"), Reply::Int(1));
        let reply = waiting.join().expect("no panic");
        assert!(
            reply
                .error()
                .is_some_and(|error| error.starts_with("KILLED ")),
            "{reply:?}"
        );
        assert_eq!(peer.gone.recv(), Ok(()));
    });
    // A client that goes away ends its call.
    let mut leaving = server.client();
    leaving.send(&ferrite_tests::encode(&[
        "WASM.CALL",
        "f",
        "ARGS",
        &request(&url),
    ]));
    assert_eq!(peer.requests.recv().as_deref(), Ok("/silent"));
    drop(leaving);
    assert_eq!(peer.gone.recv(), Ok(()));
    assert_eq!(client.call(&["GET", "n"]).text(), Some("5"));
}
