//! Requests that are sent after their call has committed, by servers in front of a cluster.

use ferrite_tests::{Client, Engine, EngineKind, Reply, Server};

use super::engines_outbox::arrived;
use super::outbox::{define, info, post, wait_for};
use super::receiver::{ReceivingServer, free_port, url};
use super::upstream::{at, knows};
use crate::engines::cluster::{PRIMARIES, first_owner, move_slot, slot_of};
use crate::upstream::cluster::nodes;

fn before(nodes: &[Engine]) -> Server {
    let (first, second) = (nodes[0].address(), nodes[1].address());
    at(&format!("redis+cluster://{first},{second}"), "").start()
}

/// Adds a request, and returns its idempotency key.
fn call(client: &mut Client, words: &[&str]) -> String {
    let reply = client.call(&[&["WASM.CALL", "f.only"][..], words].concat());
    let text = reply.text().unwrap_or_else(|| panic!("{reply:?}"));
    assert!(text.starts_with("$36"), "{text}");
    text[5..41].to_owned()
}

#[test]
fn requests_are_in_the_slot_of_their_call_and_move_with_it() {
    for kind in EngineKind::unmodified_here() {
        let nodes = nodes(kind, false);
        let first = before(&nodes);
        let mut client = first.client();
        define(&mut client, "http://127.0.0.1:*");
        let port = free_port();
        let slot = slot_of(&nodes, "k");
        let request = post(&url(port, "/"), "");
        let mut keys = vec![
            call(&mut client, &["KEYS", "k", "ARGS", &request]),
            call(&mut client, &["ARGS", &request]),
        ];
        for number in 0..20 {
            let key = format!("key:{number}");
            keys.push(call(&mut client, &["KEYS", &key, "ARGS", &request]));
        }
        keys.sort();
        let second = before(&nodes);
        let mut other = second.client();
        knows(&mut other, "f");
        wait_for(&mut other, "pending", 22);
        let listed = other.run("WASM.OUTBOX LIST PENDING");
        assert_eq!(listed.elements().map(<[Reply]>::len), Some(22), "{kind:?}");
        // The hash is among the keys of the slot, and goes with them.
        let target = (first_owner(slot) + 1) % PRIMARIES;
        move_slot(&nodes, slot, target);
        let words = ["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "9"];
        let keys_there = format!("{:?}", nodes[target].client().call(&words));
        assert!(keys_there.contains("ferrite:requests:{"), "{keys_there}");
        let receiver = ReceivingServer::start_at(port);
        while info(&mut client, "sent") + info(&mut other, "sent") < 22 {}
        wait_for(&mut client, "pending", 0);
        wait_for(&mut other, "pending", 0);
        assert_eq!(arrived(&receiver), keys, "{kind:?}");
        for node in &nodes {
            let left = node.client().run("KEYS ferrite:requests*");
            assert_eq!(left.elements(), Some(&[][..]), "{kind:?}");
        }
    }
}

#[test]
fn a_request_that_was_given_up_is_sent_again_in_its_slot() {
    for kind in EngineKind::unmodified_here() {
        let nodes = nodes(kind, false);
        // Nobody listens there yet.
        let port = free_port();
        let servers = [before(&nodes), before(&nodes)];
        let [mut client, mut other] = [servers[0].client(), servers[1].client()];
        define(&mut client, "http://127.0.0.1:*");
        knows(&mut other, "f");
        let mut keys: Vec<String> = ["a", "b", "c", "d"]
            .iter()
            .map(|key| {
                call(
                    &mut client,
                    &["KEYS", key, "ARGS", &post(&url(port, "/"), "")],
                )
            })
            .collect();
        keys.sort();
        // A function that is gone gives its requests up at once.
        client.run("WASM.UNLOAD f");
        wait_for(&mut other, "dead", 4);
        let receiver = ReceivingServer::start_at(port);
        define(&mut client, "http://127.0.0.1:*");
        let retried = other.run("WASM.OUTBOX RETRY ALL");
        assert_eq!(retried, Reply::Int(4), "{kind:?}");
        while info(&mut client, "sent") + info(&mut other, "sent") < 4 {}
        wait_for(&mut other, "dead", 0);
        wait_for(&mut other, "pending", 0);
        assert_eq!(arrived(&receiver), keys, "{kind:?}");
    }
}
