//! Requests that are sent after their call, while data moves, vanishes, or cannot be read.

use std::thread;

use ferrite_tests::{Client, EngineKind, Reply};

use super::engines_outbox::OPEN;
use super::outbox::{OUTBOX, add, define, field, given_up, info, post, wait_for};
use super::receiver::{ReceivingServer, free_port, url};
use crate::engines::cluster::{
    MovingSlot, cluster_of_primaries, has, move_slot_at_once, owner_of, serves, slot_of,
};
use crate::engines::{info as engine_info, until};

/// The same with one try for each request.
const ONE_TRY: [&str; 6] = [OPEN[0], OPEN[1], OPEN[2], OPEN[3], "outbox-tries", "1"];

/// Runs a test that mostly waits with both kinds at the same time.
fn at_both_ends(test: impl Fn(EngineKind) + Sync) {
    thread::scope(|scope| {
        for kind in EngineKind::ends_here() {
            let test = &test;
            scope.spawn(move || test(kind));
        }
    });
}

/// Calls an entry for a key once the node has its code; returns the idempotency key of the request.
fn add_for_key(client: &mut Client, key: &str, url: &str) -> String {
    let words = ["WASM.CALL", "f.only", "KEYS", key, "ARGS", &post(url, "")];
    let reply = until(client, &words, |reply| reply.error().is_none());
    let text = reply.text().unwrap_or_else(|| panic!("{reply:?}"));
    let key = text.lines().nth(1);
    key.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_request_outlives_the_loss_of_its_cluster() {
    at_both_ends(|kind| {
        let nodes = cluster_of_primaries(kind, 1, &OPEN);
        let mut client = nodes[0].client();
        define(&mut client, "http://127.0.0.1:*");
        let port = free_port();
        let key = add_for_key(&mut client, "k", &url(port, "/"));
        let slot = slot_of(&nodes, "some other key").to_string();
        let reply = client.call(&["CLUSTER", "DELSLOTS", &slot]);
        assert_eq!(reply, Reply::Simple("OK".into()));
        // Its next try finds that nothing can be read.
        until(&mut client, &["WASM.OUTBOX", "INFO"], |info| {
            let error = info.at("last_error").and_then(Reply::text);
            error.is_some_and(|error| error.contains("while the cluster is down"))
        });
        assert_eq!(info(&mut client, "pending"), 1, "{kind:?}");
        let list = client.run("WASM.OUTBOX LIST PENDING");
        let error = list.error().unwrap_or_else(|| panic!("{list:?}"));
        assert!(error.starts_with("STORE CLUSTERDOWN "), "{error}");
        let receiver = ReceivingServer::start_at(port);
        client.call(&["CLUSTER", "ADDSLOTS", &slot]);
        serves(&nodes);
        assert_eq!(receiver.next().key, key, "{kind:?}");
        wait_for(&mut client, "sent", 1);
        wait_for(&mut client, "pending", 0);
    });
}

#[test]
fn a_request_that_is_sent_while_its_slot_moves_is_given_up_once() {
    at_both_ends(|kind| {
        let nodes = cluster_of_primaries(kind, 2, &ONE_TRY);
        let slot = slot_of(&nodes, "k");
        let owner = owner_of(slot, 2);
        let (owner, other) = (&nodes[owner], &nodes[1 - owner]);
        let receiver = ReceivingServer::start();
        let permissions = format!(r#"{{"allow_network": ["{}"]}}"#, receiver.url("/*"));
        let words = ["WASM.DEFINE", "f", OUTBOX, "PERMISSIONS", &permissions];
        let reply = owner.client().call(&[&words[..], &["CLUSTER"]].concat());
        assert!(reply.error().is_none(), "{reply:?}");
        has(other, &["f"]);
        let [mut source, mut target] = [owner.client(), other.client()];
        let key = add_for_key(&mut source, "k", &receiver.url("/held"));
        assert_eq!(receiver.next().key, key);
        let mut moving = MovingSlot::begin(slot, owner, other);
        moving.move_keys();
        // The record is with the other node when the only try here fails.
        receiver.answer(&[500, 500]);
        receiver.release.send(()).expect("it waits");
        wait_for(&mut source, "failures", 1);
        moving.end();
        assert_eq!(receiver.next().key, key, "{kind:?}");
        receiver.release.send(()).expect("it waits");
        wait_for(&mut target, "dead", 1);
        assert_eq!(field(&given_up(&mut target)[0], "idempotency_key"), key);
        wait_for(&mut source, "pending", 0);
        assert_eq!(given_up(&mut source), [], "{kind:?}");
        assert_eq!(info(&mut source, "dead"), 0, "{kind:?}");
    });
}

/// Requests wait for a server that is not there, and their slot moves as a whole meanwhile.
#[test]
fn requests_that_wait_are_sent_once_by_the_node_that_gets_their_slot() {
    let kind = EngineKind::Valkey;
    if !EngineKind::here().contains(&kind) {
        return;
    }
    let nodes = cluster_of_primaries(kind, 2, &OPEN);
    let slot = slot_of(&nodes, "k");
    let owner = owner_of(slot, 2);
    let [mut source, mut target] = [owner, 1 - owner].map(|node| nodes[node].client());
    let permissions = r#"{"allow_network": ["http://127.0.0.1:*"]}"#;
    let words = [
        "WASM.DEFINE",
        "f",
        OUTBOX,
        "PERMISSIONS",
        permissions,
        "CLUSTER",
    ];
    let reply = source.call(&words);
    assert!(reply.error().is_none(), "{reply:?}");
    has(&nodes[1 - owner], &["f"]);
    let port = free_port();
    let mut keys: Vec<String> = (0..5)
        .map(|_| add_for_key(&mut source, "k", &url(port, "/")))
        .collect();
    move_slot_at_once(&nodes, slot, owner, 1 - owner);
    wait_for(&mut target, "pending", 5);
    wait_for(&mut source, "pending", 0);
    let receiver = ReceivingServer::start_at(port);
    let mut arrived: Vec<String> = (0..5).map(|_| receiver.next().key).collect();
    keys.sort_unstable();
    arrived.sort_unstable();
    assert_eq!(arrived, keys);
    wait_for(&mut target, "sent", 5);
    wait_for(&mut target, "pending", 0);
    assert_eq!(info(&mut source, "sent"), 0);
    assert_eq!(receiver.arrived.try_iter().count(), 0);
}

#[test]
fn requests_that_a_flush_removed_are_forgotten() {
    for kind in EngineKind::ends_here() {
        let receiver = ReceivingServer::start();
        let engine = kind.builder().module(&ONE_TRY).start();
        let mut client = engine.client();
        define(&mut client, &receiver.url("/*"));
        receiver.answer(&[500]);
        add(&mut client, &receiver.url("/"), "");
        wait_for(&mut client, "dead", 1);
        receiver.next();
        add(&mut client, &receiver.url("/held"), "");
        receiver.next();
        let figures = ["pending", "dead"].map(|name| info(&mut client, name));
        assert_eq!(figures, [1, 1], "{kind:?}");
        assert_eq!(client.run("FLUSHALL"), Reply::Simple("OK".into()));
        // The one that is being sent counts no more, either.
        for figure in ["pending", "dead", "pending_bytes"] {
            wait_for(&mut client, figure, 0);
        }
        receiver.release.send(()).expect("it waits");
        wait_for(&mut client, "sent", 1);
        assert_eq!(client.run("EXISTS ferrite:outbox"), Reply::Int(0));
    }
}

#[test]
fn a_list_reads_no_more_requests_than_it_shows() {
    const WAITING: usize = 150;
    /// Those that the list shows, and some more for those that are being sent.
    const READS_MAX: usize = 120;
    for kind in EngineKind::ends_here() {
        let receiver = ReceivingServer::start();
        let engine = kind.builder().module(&OPEN).start();
        let mut client = engine.client();
        define(&mut client, &receiver.url("/*"));
        let target = receiver.url("/held");
        (0..WAITING).for_each(|_| drop(add(&mut client, &target, "")));
        // Those that are sent at the same time; the others wait for them and are not read.
        (0..4).for_each(|_| drop(receiver.next()));
        client.run("CONFIG RESETSTAT");
        let list = client.run("WASM.OUTBOX LIST PENDING");
        assert_eq!(list.elements().map(<[_]>::len), Some(100));
        let reads = engine_info(&mut client, "commandstats", "cmdstat_hget");
        let calls = reads.strip_prefix("calls=").and_then(|rest| {
            let (calls, _) = rest.split_once(',')?;
            calls.parse::<usize>().ok()
        });
        assert!(
            calls.is_some_and(|calls| (100..=READS_MAX).contains(&calls)),
            "{kind:?}: {reads}"
        );
        assert_eq!(info(&mut client, "pending"), 150, "{kind:?}");
    }
}

#[test]
fn a_function_of_a_library_is_told_that_it_can_add_no_requests() {
    for kind in EngineKind::with_scripting_engines() {
        let engine = kind.builder().module(&OPEN).start();
        let mut client = engine.client();
        let header =
            r#"{"permissions":{"allow_write":true,"allow_network":["http://127.0.0.1:*"]}}"#;
        let code = format!("#!wasm name=library\n{header}\n{OUTBOX}");
        let reply = client.call(&["FUNCTION", "LOAD", &code]);
        assert_eq!(reply.text(), Some("library"), "{reply:?}");
        let request = post(&url(free_port(), "/"), "");
        let reply = client.call(&["FCALL", "only", "0", &request]);
        let text = reply.text().unwrap_or_else(|| panic!("{reply:?}"));
        let told = "-UNAVAILABLE a function of a library (FUNCTION LOAD) ";
        assert!(text.starts_with(told), "{text}");
        assert!(text.contains("load it with WASM.LOAD"), "{text}");
        assert_eq!(info(&mut client, "queued"), 0);
        assert_eq!(client.run("EXISTS ferrite:outbox"), Reply::Int(0));
    }
}
