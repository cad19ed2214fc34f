//! Triggers and schedules in a cluster: each event and each run on the node that has the key.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ferrite_tests::{Engine, EngineKind, Reply};

use super::super::{FAIL, ok};
use super::{PUT, count, keeps_one, until_delivered};
use crate::engines::cluster::{
    MovingSlot, PRIMARIES, cluster, cluster_of_primaries, define_everywhere, first_owner, has,
    routed, serves, slot_of,
};
use crate::engines::until;
use crate::support::guests::COUNT;

/// Longest wait for a node to answer as wanted.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a command to the node that accepts it.
fn run(nodes: &[Engine], words: &[&str]) -> Reply {
    run_until(nodes, words, |_| true)
}

/// Sends a command to the node that accepts it until the reply is as wanted.
fn run_until(nodes: &[Engine], words: &[&str], wanted: impl Fn(&Reply) -> bool) -> Reply {
    let started = Instant::now();
    loop {
        let reply = routed(nodes, words);
        match reply {
            Some(reply) if wanted(&reply) => return reply,
            _ => assert!(
                started.elapsed() < PATIENCE,
                "{words:?} is still answered with {reply:?}"
            ),
        }
    }
}

/// Waits until every node knows of so many triggers or schedules.
fn known(nodes: &[Engine], kind: &str, count: usize) {
    for node in nodes {
        until(&mut node.client(), &[kind, "LIST"], |list| {
            list.elements().map_or(0, <[_]>::len) == count
        });
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
        known(&nodes, "WASM.TRIGGER", 1);
        let keys: Vec<String> = (0..30).map(|key| format!("k{key}")).collect();
        for key in &keys {
            assert_eq!(run(&nodes, &["APPEND", key, "x"]), Reply::Int(1));
        }
        for key in &keys {
            run_until(&nodes, &["GET", key], |value| {
                value.text() == Some("append")
            });
        }
        // Replicas delivered nothing.
        for replica in &nodes[PRIMARIES..] {
            let info = replica.client().run("WASM.TRIGGER INFO t");
            assert_eq!(info.at("delivered"), Some(&Reply::Int(0)), "{kind:?}");
        }
        assert_eq!(nodes[1].client().run("WASM.TRIGGER DEL t"), ok());
        known(&nodes, "WASM.TRIGGER", 0);
    }
}

/// Events that wait move with the slot of their keys, and are delivered there. That a key arrives is no event.
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
        let add = "WASM.TRIGGER ADD moved put KEYS {k}* EVENTS restore del";
        assert_eq!(first.run(add), ok());
        known(&nodes, "WASM.TRIGGER", 2);
        assert_eq!(run(&nodes, &["APPEND", "k", "x"]), Reply::Int(1));
        for key in ["{k}gone", "{k}stays"] {
            assert_eq!(run(&nodes, &["SET", key, "x"]), ok());
        }
        let slot = slot_of(&nodes, "k");
        let target = (first_owner(slot) + 1) % PRIMARIES;
        let mut source = nodes[first_owner(slot)].client();
        let mut moving = MovingSlot::begin(slot, &nodes[first_owner(slot)], &nodes[target]);
        // The key is not here any more because of the change itself.
        assert_eq!(source.run("DEL {k}gone"), Reply::Int(1));
        assert_eq!(count(&mut source, "moved", "occurred"), 1, "{kind:?}");
        moving.move_keys();
        moving.end();
        let mut owner = nodes[target].client();
        assert_eq!(count(&mut owner, "moved", "occurred"), 0, "{kind:?}");
        let Reply::Bulk(dump) = owner.run("DUMP {k}stays") else {
            panic!("no dump");
        };
        assert_eq!(
            owner.call(&[&b"RESTORE"[..], b"{k}copy", b"0", &dump]),
            ok()
        );
        assert_eq!(count(&mut owner, "moved", "occurred"), 1, "{kind:?}");
        until(&mut owner, &["WASM.TRIGGER", "INFO", "t"], keeps_one);
        let words = [
            "WASM.DEFINE",
            "put",
            PUT,
            "PERMISSIONS",
            crate::engines::READ_WRITE,
        ];
        let reply = owner.call(&[&words[..], &["REPLACE", "CLUSTER"]].concat());
        assert!(reply.error().is_none(), "{reply:?}");
        until_delivered(&mut owner, "t");
        assert_eq!(owner.run("GET k").text(), Some("append"), "{kind:?}");
    }
}

/// Events that wait, and those of keys that expire, outlive it that a node loses its cluster.
#[test]
fn no_event_is_lost_while_the_cluster_is_down() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster_of_primaries(kind, 1, &[]);
        let mut client = nodes[0].client();
        define_everywhere(&mut client, "put", FAIL);
        for add in [
            "WASM.TRIGGER ADD waits put KEYS k EVENTS append",
            "WASM.TRIGGER ADD expires put KEYS x EVENTS expired",
        ] {
            assert_eq!(client.run(add), ok());
        }
        assert_eq!(client.run("DEBUG SET-ACTIVE-EXPIRE 0"), ok());
        assert_eq!(client.run("SET x 1 PX 1"), ok());
        assert_eq!(client.run("APPEND k x"), Reply::Int(1));
        let slot = slot_of(&nodes, "some other key").to_string();
        assert_eq!(client.call(&["CLUSTER", "DELSLOTS", &slot]), ok());
        let is_down = |info: &Reply| {
            let error = info.at("last_error").and_then(Reply::text);
            error.is_some_and(|error| error.contains("while the cluster is down"))
        };
        until(&mut client, &["WASM.TRIGGER", "INFO", "waits"], is_down);
        assert_eq!(count(&mut client, "waits", "pending"), 1, "{kind:?}");
        assert_eq!(client.run("DEBUG SET-ACTIVE-EXPIRE 1"), ok());
        until(&mut client, &["WASM.TRIGGER", "INFO", "expires"], is_down);
        assert_eq!(count(&mut client, "expires", "pending"), 1, "{kind:?}");
        assert_eq!(client.call(&["CLUSTER", "ADDSLOTS", &slot]), ok());
        serves(&nodes);
        let words = ["WASM.DEFINE", "put", PUT, "PERMISSIONS"];
        let words = [
            &words[..],
            &[crate::engines::READ_WRITE, "REPLACE", "CLUSTER"],
        ]
        .concat();
        let reply = client.call(&words);
        assert!(reply.error().is_none(), "{reply:?}");
        for name in ["waits", "expires"] {
            until_delivered(&mut client, name);
        }
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
        let soon = now.expect("a time").as_millis() + 3_000;
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
        run_until(&nodes, &["GET", "m"], |value| {
            let runs = value.text().and_then(|runs| runs.parse().ok());
            runs >= Some(5)
        });
        assert_eq!(nodes[2].client().run("WASM.SCHEDULE DEL often"), ok());
        known(&nodes, "WASM.SCHEDULE", 0);
    }
}

/// The node that runs a schedule notes each run. The notes that it makes before it hears of the removal are later
/// than that.
#[test]
fn a_schedule_stays_removed_whichever_node_removes_it() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster_of_primaries(kind, PRIMARIES, &[]);
        let mut first = nodes[0].client();
        define_everywhere(&mut first, "count", COUNT);
        for node in &nodes {
            has(node, &["count"]);
        }
        let owner = first_owner(slot_of(&nodes, "m"));
        let mut other = nodes[(owner + 1) % PRIMARIES].client();
        for id in 0..8 {
            let add = format!("WASM.SCHEDULE ADD s{id} count EVERY 10ms KEYS m");
            assert_eq!(other.run(&add), ok());
        }
        run_until(&nodes, &["GET", "m"], |value| {
            let runs = value.text().and_then(|runs| runs.parse().ok());
            runs >= Some(50)
        });
        for id in 0..8 {
            let del = format!("WASM.SCHEDULE DEL s{id}");
            assert_eq!(other.run(&del), ok());
        }
        known(&nodes, "WASM.SCHEDULE", 0);
        // What the owner sent before this has arrived everywhere when this has.
        let add = "WASM.SCHEDULE ADD last count CRON @yearly KEYS m";
        assert_eq!(nodes[owner].client().run(add), ok());
        known(&nodes, "WASM.SCHEDULE", 1);
    }
}
