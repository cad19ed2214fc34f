//! Requests that are sent after their call has committed.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::path::Path;
use std::thread;

use ferrite_tests::{Client, Reply, Server};
use rustix::process::Signal;

use super::receiver::{Arrived, ReceivingServer, free_port, url};

pub(crate) const OUTBOX: &str = include_str!("outbox.wat");

const OPEN: &str = "[wasm.security]\nallow_network = [\"http://127.0.0.1:*\"]\nallow_private_network = [\"127.0.0.1\"]\n";

/// Starts a server whose functions may reach the loopback, with more configuration.
fn start(config: &str) -> Server {
    Server::builder().config(&format!("{OPEN}{config}")).start()
}

#[track_caller]
pub(super) fn define(client: &mut Client, rule: &str) {
    let permissions = format!(r#"{{"allow_write": true, "allow_network": ["{rule}"]}}"#);
    let words = ["WASM.DEFINE", "f", OUTBOX, "PERMISSIONS", &permissions];
    let reply = client.call(&[&words[..], &["REPLACE"]].concat());
    let defined = reply.text().is_some_and(|text| text.starts_with("blake3:"));
    assert!(defined, "{reply:?}");
}

/// Encodes a request as a guest does.
pub(super) fn post(url: &str, body: &str) -> String {
    String::from_utf8(ferrite_tests::encode(&["POST", url, body])).expect("text")
}

/// Calls an entry with a request to add; returns the idempotency key.
#[track_caller]
pub(super) fn add(client: &mut Client, url: &str, body: &str) -> String {
    let reply = client.call(&["WASM.CALL", "f", "ARGS", &post(url, body)]);
    let text = reply.text().unwrap_or_else(|| panic!("{reply:?}"));
    let mut lines = text.split("\r\n");
    assert_eq!(lines.next(), Some("$36"), "{text}");
    lines.next().expect("a key").to_owned()
}

pub(super) fn info(client: &mut Client, field: &str) -> i64 {
    let info = client.run("WASM.OUTBOX INFO");
    let value = info.at(field).and_then(Reply::int);
    value.unwrap_or_else(|| panic!("no {field} in {info:?}"))
}

/// Polls until a figure has this value; each poll is a whole round trip.
#[track_caller]
pub(super) fn wait_for(client: &mut Client, field: &str, value: i64) {
    while info(client, field) != value {
        thread::yield_now();
    }
}

/// Returns the requests that were given up.
pub(super) fn given_up(client: &mut Client) -> Vec<Reply> {
    let list = client.run("WASM.OUTBOX LIST");
    list.elements().expect("a list").to_vec()
}

#[track_caller]
pub(super) fn field(request: &Reply, name: &str) -> String {
    let value = request.at(name);
    let value = value.unwrap_or_else(|| panic!("no {name} in {request:?}"));
    match value.int() {
        Some(number) => number.to_string(),
        None => value.text().expect("text").to_owned(),
    }
}

#[test]
fn a_request_is_sent_after_its_call() {
    let receiver = ReceivingServer::start();
    let server = start("");
    let mut client = server.client();
    let target = receiver.url("/orders?secret=1");
    define(&mut client, &format!("POST {}", receiver.url("/*")));
    let key = add(&mut client, &target, "tea");
    let arrived = Arrived {
        method: "POST".into(),
        target: "/orders?secret=1".into(),
        key,
        body: "tea".into(),
    };
    assert_eq!(receiver.next(), arrived);
    wait_for(&mut client, "sent", 1);
    wait_for(&mut client, "pending", 0);
    assert_eq!(info(&mut client, "queued"), 1);
    let stats = client.run("WASM.STATS");
    assert_eq!(stats.at("outbox_sent").and_then(Reply::int), Some(1));
    let log = server.log();
    assert!(
        log.contains("/orders") && !log.contains("secret=1"),
        "{log}"
    );

    // A call that reads and writes nothing else commits it as well, and a key of the request's own stays.
    let words = ["POST", &target, "", "Idempotency-Key", "order 7"];
    let request = String::from_utf8(ferrite_tests::encode(&words)).expect("text");
    let reply = client.call(&["WASM.CALL", "f.only", "ARGS", &request]);
    assert_eq!(reply.text(), Some("$7\r\norder 7\r\n"));
    assert_eq!(receiver.next().key, "order 7");

    // A transaction of the client's sends it with its own commit.
    let only = ["WASM.CALL", "f.only", "ARGS", &post(&target, "discarded")];
    client.run("MULTI");
    client.call(&only);
    client.run("DISCARD");
    client.run("MULTI");
    client.call(&["WASM.CALL", "f.only", "ARGS", &post(&target, "one")]);
    client.run("SET x 1");
    assert_eq!(receiver.arrived.try_iter().count(), 0);
    client.run("EXEC");
    assert_eq!(receiver.next().body, "one");
    wait_for(&mut client, "pending", 0);
    assert_eq!(info(&mut client, "sent"), 3);
}

#[test]
fn nothing_is_sent_for_a_call_that_does_not_commit() {
    let receiver = ReceivingServer::start();
    let server = start("");
    let mut client = server.client();
    define(&mut client, &format!("POST {}", receiver.url("/*")));
    let target = receiver.url("/");
    let request = post(&target, "never");
    let mut reply = |words: &[&str]| format!("{:?}", client.call(words));
    let trap = reply(&["WASM.CALL", "f.fail", "ARGS", &request]);
    assert!(trap.contains("TRAP"), "{trap}");
    let profile = reply(&["WASM.PROFILE", "f", "ARGS", &request]);
    assert!(profile.contains("after_commit"), "{profile}");
    let read_only = reply(&["WASM.CALL_RO", "f.only", "ARGS", &request]);
    assert!(
        read_only.contains("-UNAVAILABLE no requests"),
        "{read_only}"
    );
    let get = String::from_utf8(ferrite_tests::encode(&["GET", &target, ""])).expect("text");
    assert_eq!(reply(&["WASM.CALL", "f", "ARGS", &get]), "(integer) -16");
    let malformed = reply(&["WASM.CALL", "f", "ARGS", "*1\r\n$4\r\nPOST\r\n"]);
    assert!(malformed.contains("-INVALID a request is"), "{malformed}");
    let errors = reply(&["WASM.ERRORS", "f"]);
    assert!(
        errors.contains("matches nothing in allow_network"),
        "{errors}"
    );
    assert_eq!(info(&mut client, "queued"), 0);
    // What comes now would come behind it.
    add(&mut client, &target, "last");
    assert_eq!(receiver.next().body, "last");
}

#[test]
fn a_call_that_met_a_conflict_sends_once() {
    let receiver = ReceivingServer::start();
    let server = start("");
    let mut client = server.client();
    define(&mut client, &receiver.url("/*"));
    let held = ferrite_tests::encode(&["GET", &receiver.url("/held"), ""]);
    let held = String::from_utf8(held).expect("text");
    let request = post(&receiver.url("/hook"), "once");
    thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let words = ["WASM.CALL", "f.slow", "ARGS", &request, &held];
            server.client().call(&words)
        });
        assert_eq!(receiver.next().target, "/held");
        // The call has read it.
        assert_eq!(client.run("SET n 5"), Reply::Simple("OK".into()));
        receiver.release.send(()).expect("it waits");
        let reply = calling.join().expect("no panic");
        let arrived = receiver.next();
        assert_eq!(arrived.target, "/hook");
        let key = format!("$36\r\n{}\r\n", arrived.key);
        assert_eq!(reply.text(), Some(&*key));
    });
    assert_eq!(client.call(&["GET", "n"]).text(), Some("6"));
    let retries = client.run("WASM.INFO f").at("retries").and_then(Reply::int);
    assert!(retries.is_some_and(|retries| retries > 0), "{retries:?}");
    wait_for(&mut client, "pending", 0);
    assert_eq!(info(&mut client, "queued"), 1);
    assert_eq!(receiver.arrived.try_iter().count(), 0);
}

#[test]
fn a_request_is_tried_again_and_given_up() {
    let receiver = ReceivingServer::start();
    let server = start("[wasm.network]\noutbox_tries = 2\n");
    let mut client = server.client();
    define(&mut client, &receiver.url("/*"));
    receiver.answer(&[500]);
    let key = add(&mut client, &receiver.url("/a"), "");
    let keys = [receiver.next().key, receiver.next().key];
    assert_eq!(keys, [key.clone(), key]);
    wait_for(&mut client, "sent", 1);
    assert_eq!(info(&mut client, "failures"), 1);

    receiver.answer(&[503, 404]);
    let key = add(&mut client, &receiver.url("/b?secret"), "");
    wait_for(&mut client, "dead", 1);
    // It is counted there before it leaves the requests that wait.
    wait_for(&mut client, "pending", 0);
    let dead = given_up(&mut client);
    assert_eq!(dead.len(), 1);
    for (name, value) in [
        ("function", "f"),
        ("method", "POST"),
        ("url", &receiver.url("/b")),
        ("idempotency_key", &key),
        ("tries", "2"),
        ("error", "HTTP 404"),
    ] {
        assert_eq!(field(&dead[0], name), value, "{name}");
    }
    receiver.arrived.try_iter().for_each(drop);

    // It is kept, sent again when it is asked for, and removed.
    let id = field(&dead[0], "id");
    let unknown = client.run("WASM.OUTBOX RETRY 12345");
    let error = unknown.error().expect("an error");
    assert!(
        error.contains("no request \"12345\" was given up"),
        "{error}"
    );
    assert_eq!(
        client.run(&format!("WASM.OUTBOX RETRY {id}")),
        Reply::Int(1)
    );
    assert_eq!(receiver.next().key, key);
    wait_for(&mut client, "sent", 2);
    assert_eq!(given_up(&mut client), []);
    receiver.answer(&[500, 500]);
    add(&mut client, &receiver.url("/c"), "");
    wait_for(&mut client, "dead", 1);
    assert_eq!(client.run("WASM.OUTBOX DEL ALL"), Reply::Int(1));
    assert_eq!(info(&mut client, "dead"), 0);
    assert_eq!(info(&mut client, "given_up"), 2);
    for line in [
        "WASM.OUTBOX",
        "WASM.OUTBOX LIST X",
        "WASM.OUTBOX LOST",
        "WASM.OUTBOX DEL",
    ] {
        assert!(client.run(line).error().is_some(), "{line}");
    }
}

#[test]
fn a_request_that_many_send_again_at_once_arrives_once() {
    let receiver = ReceivingServer::start();
    let server = start("[wasm.network]\noutbox_tries = 1\n");
    let mut client = server.client();
    define(&mut client, &receiver.url("/*"));
    for round in 1..=5 {
        receiver.answer(&[500]);
        add(&mut client, &receiver.url("/"), "");
        wait_for(&mut client, "dead", 1);
        receiver.next();
        let id = field(&given_up(&mut client)[0], "id");
        let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
        let retried: i64 = thread::scope(|scope| {
            let threads: Vec<_> = clients
                .iter_mut()
                .map(|client| {
                    let words = ["WASM.OUTBOX", "RETRY", &id];
                    scope.spawn(move || client.call(&words).int().unwrap_or(0))
                })
                .collect();
            let counts = threads.into_iter().map(|one| one.join().expect("no panic"));
            counts.sum()
        });
        assert_eq!(retried, 1, "{round}");
        receiver.next();
        wait_for(&mut client, "sent", round);
        wait_for(&mut client, "pending", 0);
    }
    assert_eq!(info(&mut client, "queued"), 10);
    assert_eq!(receiver.arrived.try_iter().count(), 0);
}

#[test]
fn rules_count_again_when_a_request_is_sent() {
    let server = start("");
    let mut client = server.client();
    let target = url(free_port(), "/");
    define(&mut client, "http://127.0.0.1:*");
    add(&mut client, &target, "");
    // Nobody listens there, so it waits for its next try.
    define(&mut client, "http://127.0.0.1:1");
    wait_for(&mut client, "dead", 1);
    let error = field(&given_up(&mut client)[0], "error");
    assert!(error.starts_with("NOPERM "), "{error}");
    assert!(
        error.contains("matches nothing in allow_network"),
        "{error}"
    );

    define(&mut client, "http://127.0.0.1:*");
    add(&mut client, &target, "");
    client.run("WASM.UNLOAD f");
    wait_for(&mut client, "dead", 2);
    let error = field(&given_up(&mut client)[1], "error");
    assert!(error.starts_with("NOFUNC "), "{error}");
}

#[test]
fn requests_that_wait_are_bounded() {
    let server = start("[wasm.network]\nmax_outbox = 2\nmax_requests = 1\n");
    let mut client = server.client();
    let target = url(free_port(), "/");
    define(&mut client, "http://127.0.0.1:*");
    add(&mut client, &target, "");
    add(&mut client, &target, "");
    let reply = client.call(&["WASM.CALL", "f", "ARGS", &post(&target, "")]);
    let text = reply.text().expect("an error in a text");
    assert!(
        text.starts_with("-LIMIT 2 requests wait in the outbox, the limit is 2; try again later"),
        "{text}"
    );
    let pending = client.run("WASM.OUTBOX LIST PENDING");
    assert_eq!(pending.elements().expect("a list").len(), 2);
}

fn durable(dir: &Path) -> Server {
    let config = format!("{OPEN}[store]\ndurability = \"always\"\nmin_free_space = \"1MB\"\n");
    Server::builder().dir(dir).config(&config).start()
}

#[test]
fn what_was_committed_is_sent_after_a_kill() {
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let server = durable(dir.path());
    let mut client = server.client();
    define(&mut client, "http://127.0.0.1:*");
    let mut keys: Vec<_> = (0..20)
        .map(|number| add(&mut client, &url(port, "/"), &number.to_string()))
        .collect();
    server.signal(Signal::KILL);
    drop(server);
    let receiver = ReceivingServer::start_at(port);
    let server = durable(dir.path());
    let mut client = server.client();
    wait_for(&mut client, "pending", 0);
    assert_eq!(info(&mut client, "sent"), 20);
    let mut arrived: Vec<_> = receiver.arrived.try_iter().map(|it| it.key).collect();
    keys.sort();
    arrived.sort();
    assert_eq!(arrived, keys);

    // A kill while the answer is awaited: it arrives again, with the same key.
    let key = add(&mut client, &receiver.url("/held"), "");
    assert_eq!(receiver.next().key, key);
    server.signal(Signal::KILL);
    drop(server);
    let server = durable(dir.path());
    let mut client = server.client();
    receiver.release.send(()).expect("it listens");
    receiver.release.send(()).expect("it listens");
    assert_eq!(receiver.next().key, key);
    wait_for(&mut client, "sent", 1);
    wait_for(&mut client, "pending", 0);
    assert_eq!(client.call(&["GET", "n"]).text(), Some("21"));
}

#[test]
fn the_example_tells_the_shop_and_keeps_a_rate() {
    let Some(built) = std::env::var_os("FERRITE_EXAMPLES_DIR") else {
        eprintln!("skipped: FERRITE_EXAMPLES_DIR names no folder of built examples");
        return;
    };
    let wasm = std::fs::read(Path::new(&built).join("network.wasm")).expect("it is built");
    let receiver = ReceivingServer::start();
    let server = start("");
    let mut client = server.client();
    let rule = receiver.url("/*");
    let permissions =
        format!(r#"{{"allowed_keys": ["*"], "allow_write": true, "allow_network": ["{rule}"]}}"#);
    let url = receiver.url("");
    let config = format!(r#"{{"shop_url": "{url}", "shop_token": "t", "rates_url": "{url}"}}"#);
    let words: [&[u8]; 7] = [
        b"WASM.LOAD",
        b"shop",
        &wasm,
        b"PERMISSIONS",
        permissions.as_bytes(),
        b"CONFIG",
        config.as_bytes(),
    ];
    let reply = client.call(&words);
    assert!(reply.error().is_none(), "{reply:?}");
    client.run("HSET order:1 status open");
    for paid in [1, 0] {
        assert_eq!(
            client.run("WASM.CALL shop.pay KEYS order:1"),
            Reply::Int(paid)
        );
    }
    let told = receiver.next();
    assert_eq!(
        (&*told.target, &*told.key, &*told.body),
        ("/orders/paid", "order:1", "order:1")
    );
    wait_for(&mut client, "pending", 0);
    // The receiver's "ok" is no number.
    let reply = client.run("WASM.CALL shop.rate KEYS rate:chf ARGS chf");
    assert!(reply.error().is_some(), "{reply:?}");
    assert_eq!(receiver.next().target, "/v1/chf");
    client.run("SET rate:chf 0.93");
    let reply = client.run("WASM.CALL shop.rate KEYS rate:chf ARGS chf");
    assert_eq!(reply.text(), Some("0.93"));
    assert_eq!(receiver.arrived.try_iter().count(), 0);
}
