//! Triggers and schedules in a cluster: each event and each run on the node that has the key.

use std::time::{SystemTime, UNIX_EPOCH};

use ferrite_tests::{Client, Engine, EngineKind, Reply};

use super::super::{FAIL, ok};
use super::PUT;
use crate::engines::cluster::{
    PRIMARIES, cluster, define_everywhere, first_owner, has, move_slot, routed, slot_of,
};
use crate::engines::until;
use crate::guests::COUNT;

/// Sends a command to the node that accepts it.
fn run(nodes: &[Engine], words: &[&str]) -> Reply {
    loop {
        if let Some(reply) = routed(nodes, words) {
            return reply;
        }
    }
}

fn listed(client: &mut Client, kind: &str) -> usize {
    let reply = client.call(&[kind, "LIST"]);
    reply.elements().map_or(0, <[_]>::len)
}

/// Waits until every node knows of one trigger or schedule.
fn known(nodes: &[Engine], kind: &str) {
    for node in nodes {
        let mut client = node.client();
        while listed(&mut client, kind) != 1 {}
    }
}

#[test]
fn every_node_delivers_the_events_of_its_keys() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster(kind);
        let mut first = nodes[0].client();
        define_everywhere(&mut first, "put", PUT);
        for node in &nodes {
            has(node, &["put"]);
        }
        let add = "WASM.TRIGGER ADD t put KEYS k* EVENTS append";
        assert_eq!(first.run(add), ok());
        known(&nodes, "WASM.TRIGGER");
        let keys: Vec<String> = (0..30).map(|key| format!("k{key}")).collect();
        for key in &keys {
            assert_eq!(run(&nodes, &["APPEND", key, "x"]), Reply::Int(1));
        }
        for key in &keys {
            while run(&nodes, &["GET", key]).text() != Some("append") {}
        }
        // Replicas delivered nothing.
        for replica in &nodes[PRIMARIES..] {
            let info = replica.client().run("WASM.TRIGGER INFO t");
            assert_eq!(info.at("delivered"), Some(&Reply::Int(0)), "{kind:?}");
        }
        assert_eq!(nodes[1].client().run("WASM.TRIGGER DEL t"), ok());
        for node in &nodes {
            let mut client = node.client();
            while listed(&mut client, "WASM.TRIGGER") != 0 {}
        }
    }
}

/// Events that wait move with the slot of their keys, and are delivered there.
#[test]
fn events_that_wait_move_with_their_slot() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster(kind);
        let mut first = nodes[0].client();
        define_everywhere(&mut first, "put", FAIL);
        for node in &nodes {
            has(node, &["put"]);
        }
        let add = "WASM.TRIGGER ADD t put KEYS k EVENTS append";
        assert_eq!(first.run(add), ok());
        known(&nodes, "WASM.TRIGGER");
        assert_eq!(run(&nodes, &["APPEND", "k", "x"]), Reply::Int(1));
        let slot = slot_of(&nodes, "k");
        let target = (first_owner(slot) + 1) % PRIMARIES;
        move_slot(&nodes, slot, target);
        let mut owner = nodes[target].client();
        until(&mut owner, &["WASM.TRIGGER", "INFO", "t"], |info| {
            info.at("pending").and_then(Reply::int) == Some(1)
        });
        let words = [
            "WASM.DEFINE",
            "put",
            PUT,
            "PERMISSIONS",
            crate::engines::READ_WRITE,
        ];
        let reply = owner.call(&[&words[..], &["REPLACE", "CLUSTER"]].concat());
        assert!(reply.error().is_none(), "{reply:?}");
        until(&mut owner, &["GET", "k"], |value| {
            value.text() == Some("append")
        });
    }
}

#[test]
fn a_schedule_runs_once_for_the_cluster() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster(kind);
        let mut first = nodes[0].client();
        define_everywhere(&mut first, "count", COUNT);
        for node in &nodes {
            has(node, &["count"]);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let soon = now.expect("a time").as_millis() + 500;
        let add = format!("WASM.SCHEDULE ADD one count AT {soon} MISSED once KEYS n");
        assert_eq!(first.run(&add), ok());
        // Every node hears of the run.
        for node in &nodes {
            until(&mut node.client(), &["WASM.SCHEDULE", "LIST"], |list| {
                let one = list.elements().and_then(|list| list.first());
                one.and_then(|one| one.at("runs")?.int()) == Some(1)
            });
        }
        assert_eq!(run(&nodes, &["GET", "n"]).text(), Some("1"), "{kind:?}");
        assert_eq!(first.run("WASM.SCHEDULE DEL one"), ok());
        let add = "WASM.SCHEDULE ADD often count EVERY 20ms KEYS m";
        assert_eq!(nodes[1].client().run(add), ok());
        while run(&nodes, &["GET", "m"])
            .text()
            .and_then(|n| n.parse().ok())
            < Some(5)
        {}
        assert_eq!(nodes[2].client().run("WASM.SCHEDULE DEL often"), ok());
        for node in &nodes {
            let mut client = node.client();
            while listed(&mut client, "WASM.SCHEDULE") != 0 {}
        }
    }
}
