//! Requests that are sent after their call has committed, inside Valkey and Redis.

use std::path::Path;

use ferrite_tests::{Client, Engine, EngineKind, Reply};

use super::outbox::{OUTBOX, add, define, field, given_up, info, post, wait_for};
use super::receiver::{ReceivingServer, free_port, url};
use crate::engines::cluster::{PRIMARIES, cluster_with, first_owner, has, move_slot, slot_of};
use crate::engines::{info as engine_info, until};

pub(super) const OPEN: [&str; 6] = [
    "allow-network",
    "http://127.0.0.1:*",
    "allow-private-network",
    "127.0.0.1",
    "outbox-tries",
    "100",
];

fn start(kind: EngineKind) -> Engine {
    kind.builder().module(&OPEN).start()
}

/// Starts a server that keeps its data in `dir`, and answers once they are on disk.
fn durable(kind: EngineKind, dir: &Path) -> Engine {
    let arguments = ["--appendonly", "yes", "--appendfsync", "always"];
    let builder = kind.builder().module(&OPEN).arguments(&arguments);
    builder.dir(dir).start()
}

/// Takes the keys of all requests that have arrived, in order of their texts.
pub(super) fn arrived(receiver: &ReceivingServer) -> Vec<String> {
    let mut keys: Vec<_> = receiver.arrived.try_iter().map(|it| it.key).collect();
    keys.sort();
    keys
}

#[test]
fn a_request_is_sent_after_its_call_and_only_then() {
    for kind in EngineKind::here() {
        let receiver = ReceivingServer::start();
        let engine = start(kind);
        let mut client = engine.client();
        let target = receiver.url("/orders?secret=1");
        define(&mut client, &format!("POST {}", receiver.url("/*")));
        let key = add(&mut client, &target, "tea");
        let told = receiver.next();
        assert_eq!((told.key, &*told.body), (key, "tea"), "{kind:?}");
        wait_for(&mut client, "sent", 1);
        wait_for(&mut client, "pending", 0);
        assert_eq!(
            client.run("EXISTS ferrite:outbox"),
            Reply::Int(0),
            "{kind:?}"
        );
        let stats = client.run("WASM.STATS");
        assert_eq!(stats.at("outbox_sent").and_then(Reply::int), Some(1));

        let request = post(&target, "never");
        let trap = client.call(&["WASM.CALL", "f.fail", "ARGS", &request]);
        assert!(
            trap.error().is_some_and(|it| it.starts_with("TRAP")),
            "{trap:?}"
        );
        let profile = format!(
            "{:?}",
            client.call(&["WASM.PROFILE", "f", "ARGS", &request])
        );
        assert!(profile.contains("after_commit"), "{profile}");
        let read_only = client.call(&["WASM.CALL_RO", "f.only", "ARGS", &request]);
        let text = read_only.text().expect("an error in a text");
        assert!(text.starts_with("-UNAVAILABLE no requests"), "{text}");
        // A transaction and a script commit it with what else they did.
        client.run("MULTI");
        client.call(&["WASM.CALL", "f.only", "ARGS", &post(&target, "one")]);
        client.run("SET x 1");
        assert_eq!(receiver.arrived.try_iter().count(), 0);
        client.run("EXEC");
        assert_eq!(receiver.next().body, "one", "{kind:?}");
        let script = "return redis.call('WASM.CALL', 'f.only', 'ARGS', ARGV[1])";
        client.call(&["EVAL", script, "0", &post(&target, "two")]);
        assert_eq!(receiver.next().body, "two", "{kind:?}");
        wait_for(&mut client, "pending", 0);
        assert_eq!(info(&mut client, "queued"), 3);
    }
}

#[test]
fn a_request_is_given_up_shown_and_sent_again() {
    for kind in EngineKind::ends_here() {
        let receiver = ReceivingServer::start();
        let arguments = [&OPEN[..4], &["outbox-tries", "2", "max-outbox", "1"]].concat();
        let engine = kind.builder().module(&arguments).start();
        let mut client = engine.client();
        define(&mut client, &receiver.url("/*"));
        receiver.answer(&[503, 404]);
        let key = add(&mut client, &receiver.url("/b?secret"), "");
        wait_for(&mut client, "dead", 1);
        let dead = given_up(&mut client);
        for (name, value) in [
            ("function", "f"),
            ("url", &receiver.url("/b")),
            ("idempotency_key", &key),
            ("tries", "2"),
            ("error", "HTTP 404"),
        ] {
            assert_eq!(field(&dead[0], name), value, "{name}");
        }
        receiver.arrived.try_iter().for_each(drop);
        assert_eq!(client.run("WASM.OUTBOX RETRY ALL"), Reply::Int(1));
        assert_eq!(receiver.next().key, key);
        wait_for(&mut client, "sent", 1);
        // There is room for one.
        wait_for(&mut client, "pending", 0);
        receiver.answer(&[500, 500]);
        add(&mut client, &receiver.url("/c"), "");
        wait_for(&mut client, "dead", 1);
        assert_eq!(client.run("WASM.OUTBOX DEL ALL"), Reply::Int(1));
        assert_eq!(
            client.run("EXISTS ferrite:outbox"),
            Reply::Int(0),
            "{kind:?}"
        );

        // Nobody listens there, so it waits, and there is no room for another.
        let target = url(free_port(), "/");
        define(&mut client, "http://127.0.0.1:*");
        add(&mut client, &target, "");
        let reply = client.call(&["WASM.CALL", "f", "ARGS", &post(&target, "")]);
        let text = reply.text().expect("an error in a text");
        assert!(
            text.starts_with("-LIMIT 1 requests wait in the outbox"),
            "{text}"
        );
        client.run("WASM.UNLOAD f");
        wait_for(&mut client, "dead", 1);
        let error = field(&given_up(&mut client)[0], "error");
        assert!(error.starts_with("NOFUNC "), "{error}");
    }
}

#[test]
fn what_was_committed_is_sent_after_a_kill() {
    for kind in EngineKind::ends_here() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let mut engine = durable(kind, dir.path());
        let mut client = engine.client();
        define(&mut client, "http://127.0.0.1:*");
        let mut keys: Vec<_> = (0..20)
            .map(|number| add(&mut client, &url(port, "/"), &number.to_string()))
            .collect();
        keys.sort();
        engine.kill();
        let receiver = ReceivingServer::start_at(port);
        let mut engine = durable(kind, dir.path());
        let mut client = engine.client();
        wait_for(&mut client, "sent", 20);
        wait_for(&mut client, "pending", 0);
        assert_eq!(arrived(&receiver), keys, "{kind:?}");

        // A kill while the answer is awaited: it arrives again, with the same key.
        let key = add(&mut client, &receiver.url("/held"), "");
        assert_eq!(receiver.next().key, key);
        engine.kill();
        let engine = durable(kind, dir.path());
        let mut client = engine.client();
        receiver.release.send(()).expect("it listens");
        receiver.release.send(()).expect("it listens");
        assert_eq!(receiver.next().key, key);
        wait_for(&mut client, "sent", 1);
        wait_for(&mut client, "pending", 0);
        assert_eq!(client.run("GET n").text(), Some("21"));
    }
}

#[test]
fn a_replica_that_takes_over_goes_on_with_the_requests() {
    for kind in EngineKind::ends_here() {
        let pair = || {
            let builder = kind.builder().module(&OPEN);
            builder
                .arguments(&["--repl-diskless-sync-delay", "0"])
                .start()
        };
        let (mut primary, replica) = (pair(), pair());
        let (mut client, mut second) = (primary.client(), replica.client());
        second.call(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
        while engine_info(&mut second, "replication", "master_link_status") != "up" {}
        let port = free_port();
        define(&mut client, "http://127.0.0.1:*");
        let mut keys: Vec<_> = (0..10)
            .map(|number| add(&mut client, &url(port, "/"), &number.to_string()))
            .collect();
        keys.sort();
        assert_eq!(client.run("WAIT 1 60000"), Reply::Int(1));
        // A replica has them and sends nothing, nor does it take new ones.
        assert_eq!(
            second.run("HLEN ferrite:outbox"),
            Reply::Int(10),
            "{kind:?}"
        );
        assert_eq!(info(&mut second, "pending"), 0, "{kind:?}");
        primary.kill();
        let receiver = ReceivingServer::start_at(port);
        assert_eq!(second.run("REPLICAOF NO ONE"), Reply::Simple("OK".into()));
        wait_for(&mut second, "sent", 10);
        assert_eq!(arrived(&receiver), keys, "{kind:?}");
        wait_for(&mut second, "pending", 0);
        assert_eq!(second.run("EXISTS ferrite:outbox"), Reply::Int(0));
    }
}

#[test]
fn requests_that_wait_move_with_the_slot_of_their_call() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster_with(kind, &OPEN);
        let port = free_port();
        let permissions = r#"{"allow_write": true, "allow_network": ["http://127.0.0.1:*"]}"#;
        let words = [
            "WASM.DEFINE",
            "f",
            OUTBOX,
            "PERMISSIONS",
            permissions,
            "CLUSTER",
        ];
        let reply = nodes[0].client().call(&words);
        assert!(reply.error().is_none(), "{reply:?}");
        for node in &nodes {
            has(node, &["f"]);
        }
        let slot = slot_of(&nodes, "k");
        let (owner, target) = (first_owner(slot), (first_owner(slot) + 1) % PRIMARIES);
        let request = post(&url(port, "/"), "of a key");
        let call = |client: &mut Client, words: &[&str]| {
            let words = [&["WASM.CALL", "f.only"][..], words].concat();
            // A node may still fetch the code from another one.
            let reply = until(client, &words, |reply| {
                let error = reply.error().unwrap_or_default();
                !error.starts_with("NOARTIFACT")
            });
            let text = reply.text().unwrap_or_else(|| panic!("{reply:?}"));
            assert!(text.starts_with("$36"), "{text}");
        };
        let mut owner = nodes[owner].client();
        call(&mut owner, &["KEYS", "k", "ARGS", &request]);
        // A call without keys has its request in some slot of its node.
        call(
            &mut owner,
            &["ARGS", &post(&url(port, "/"), "without a key")],
        );
        assert_eq!(info(&mut owner, "pending"), 2, "{kind:?}");
        move_slot(&nodes, slot, target);
        let mut target = nodes[target].client();
        until(&mut target, &["WASM.OUTBOX", "INFO"], |info| {
            info.at("pending").and_then(Reply::int) == Some(1)
        });
        let receiver = ReceivingServer::start_at(port);
        wait_for(&mut target, "sent", 1);
        wait_for(&mut owner, "sent", 1);
        let mut bodies = [receiver.next().body, receiver.next().body];
        bodies.sort();
        assert_eq!(bodies, ["of a key", "without a key"], "{kind:?}");
        for client in [&mut owner, &mut target] {
            wait_for(client, "pending", 0);
        }
    }
}
