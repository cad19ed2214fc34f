//! `WASM.CALLALL`: on the standalone server, on one engine, and on all primaries of a cluster.

mod statistics;

use std::thread;
use std::time::{Duration, Instant};

use ferrite_tests::{Client, Engine, EngineKind, Reply, Server, encode};

use super::cluster::{
    PRIMARIES, cluster_with, define_everywhere, first_owner, has, id, move_slot, routed, slot_of,
};
use super::{LONG, until};

const GUEST: &str = include_str!("guest.wat");

fn error(reply: &Reply) -> &str {
    reply
        .error()
        .unwrap_or_else(|| panic!("no error: {reply:?}"))
}

/// Defines the guest, on this node alone.
fn define(client: &mut Client) {
    super::define(client, "all", GUEST);
}

/// A cluster with the guest and as many keys as this, spread over the primaries.
fn with_guest(kind: EngineKind, arguments: &[&str], keys: usize) -> Vec<Engine> {
    let nodes = cluster_with(kind, arguments);
    define_everywhere(&mut nodes[0].client(), "all", GUEST);
    for node in &nodes {
        has(node, &["all"]);
    }
    for number in 0..keys {
        let key = format!("key:{number}");
        while routed(&nodes, &["SET", &key, "1"]).is_none() {}
    }
    // Each node has to fetch the code first.
    until(
        &mut nodes[0].client(),
        &["WASM.CALLALL", "all.size"],
        |reply| reply.error().is_none(),
    );
    nodes
}

/// A key that belongs to a primary of a new cluster.
fn key_of(nodes: &[Engine], owner: usize) -> String {
    (0..)
        .map(|number| format!("only:{number}"))
        .find(|key| first_owner(slot_of(nodes, key)) == owner)
        .expect("some key")
}

/// The running calls of the guest on a node.
fn running(node: &Engine) -> i64 {
    let info = node.client().call(&["WASM.INFO", "all"]);
    info.at("running").and_then(Reply::int).unwrap_or(0)
}

fn until_running(node: &Engine, count: i64) {
    let started = Instant::now();
    while running(node) != count {
        assert!(
            started.elapsed() < super::PATIENCE,
            "{} calls are running, not {count}",
            running(node)
        );
        thread::yield_now();
    }
}

/// The ids of missing nodes, and their reasons.
fn missing(reply: &Reply) -> Vec<(String, String)> {
    let parts = reply.elements().unwrap_or_else(|| panic!("{reply:?}"));
    let missing = parts[1].elements().expect("an array");
    missing
        .iter()
        .map(|one| {
            let one = one.elements().expect("a pair");
            let text = |at: usize| one[at].text().expect("a text").to_owned();
            (text(0), text(1))
        })
        .collect()
}

/// What a host with one node replies.
fn on_one_node(client: &mut Client, host: &str) {
    define(client);
    for number in 0..10 {
        client.run(&format!("SET key:{number} 1"));
    }
    let reply = client.run("WASM.CALLALL all.size REDUCE sum");
    assert_eq!(reply, Reply::Int(10), "{host}");
    let reply = client.run("WASM.CALLALL all.size REDUCE sum PARTIAL");
    assert_eq!(
        reply,
        Reply::Array(vec![Reply::Int(10), Reply::Array(Vec::new())])
    );
    let reply = client.run("WASM.CALLALL all.size");
    let nodes = reply.elements().expect("an array of nodes");
    let [node, size] = nodes[0].elements().expect("a pair") else {
        panic!("{host}: {reply:?}");
    };
    assert_eq!((nodes.len(), size), (1, &Reply::Int(10)), "{host}");
    assert_eq!(node.text().map(str::len), Some(40), "{host}: {reply:?}");
    // Both entries may only read.
    let reply = client.run("WASM.CALLALL all.write REDUCE sum");
    assert_eq!(
        reply,
        Reply::Int(17),
        "{host}: the status of a refused write"
    );
    assert_eq!(client.run("EXISTS D"), Reply::Int(0));
    for (request, start) in [
        ("WASM.CALLALL all.fail PARTIAL", "BROKEN node "),
        ("WASM.CALLALL all.hang", "FUEL node "),
        ("WASM.CALLALL all.size REDUCE none", "NOFUNC "),
        ("WASM.CALLALL none.size", "NOFUNC no function \"none\""),
    ] {
        let reply = client.run(request);
        assert!(
            error(&reply).starts_with(start),
            "{host} {request}: {reply:?}"
        );
    }
    assert_eq!(client.run("MULTI"), Reply::Simple("OK".into()));
    let queued = client.run("WASM.CALLALL all.size");
    let executed = client.run("EXEC");
    let refused = queued.error().is_some()
        || executed
            .elements()
            .is_some_and(|replies| replies[0].error().is_some());
    assert!(refused, "{host}: {queued:?} {executed:?}");
}

#[test]
fn a_single_node_maps_and_reduces() {
    let server = Server::start();
    on_one_node(&mut server.client(), "the server");
    for kind in EngineKind::here() {
        let engine = kind.start();
        on_one_node(&mut engine.client(), &format!("{kind:?}"));
    }
}

#[test]
fn calls_on_all_nodes_are_killed_by_name_and_by_their_client() {
    for kind in EngineKind::ends_here() {
        let nodes = with_guest(kind, &LONG, 40);
        let asked = &nodes[1];
        let mut client = asked.client();
        let mut other = asked.client();
        client.send(&encode(&["WASM.CALLALL", "all.hang", "PARTIAL"]));
        for node in &nodes[..PRIMARIES] {
            until_running(node, 1);
        }
        // Nobody is held up meanwhile.
        assert_eq!(other.run("PING"), Reply::Simple("PONG".into()));
        assert_eq!(other.run("WASM.KILL all"), Reply::Int(1));
        let reply = client.reply();
        assert!(error(&reply).starts_with("KILLED "), "{kind:?}: {reply:?}");
        for node in &nodes[..PRIMARIES] {
            until_running(node, 0);
        }
        let mut gone = asked.client();
        gone.send(&encode(&["WASM.CALLALL", "all.hang"]));
        for node in &nodes[..PRIMARIES] {
            until_running(node, 1);
        }
        drop(gone);
        for node in &nodes[..PRIMARIES] {
            until_running(node, 0);
        }
        // A kill on another node ends the whole, and names that node.
        client.send(&encode(&["WASM.CALLALL", "all.hang"]));
        until(&mut nodes[2].client(), &["WASM.KILL", "all"], |reply| {
            reply.int() == Some(1)
        });
        let reply = client.reply();
        let start = format!("KILLED node {}", id(&nodes[2]));
        assert!(error(&reply).starts_with(&start), "{kind:?}: {reply:?}");
        for node in &nodes[..PRIMARIES] {
            until_running(node, 0);
        }
        // So does the time limit, on every node.
        let reply = client.run("WASM.CALLALL all.hang TIMEOUT 200");
        assert!(error(&reply).starts_with("TIMEOUT node "), "{reply:?}");
        for node in &nodes[..PRIMARIES] {
            until_running(node, 0);
        }
    }
}

#[test]
fn every_primary_counts_its_own_keys() {
    const KEYS: usize = 60;
    for kind in EngineKind::ends_here() {
        let nodes = with_guest(kind, &[], KEYS);
        let count = i64::try_from(KEYS).expect("a small number");
        // A replica can be asked too.
        for asked in &nodes {
            let mut client = asked.client();
            let reply = client.run("WASM.CALLALL all.size REDUCE sum");
            assert_eq!(reply, Reply::Int(count), "{kind:?}");
        }
        let mut client = nodes[0].client();
        let reply = client.run("WASM.CALLALL all.size");
        let mut expected: Vec<(String, Reply)> = nodes[..PRIMARIES]
            .iter()
            .map(|node| (id(node), node.client().run("DBSIZE")))
            .collect();
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        let found: Vec<(String, Reply)> = reply
            .elements()
            .expect("an array")
            .iter()
            .map(|one| {
                let one = one.elements().expect("a pair");
                (one[0].text().expect("an id").to_owned(), one[1].clone())
            })
            .collect();
        assert_eq!(found, expected, "{kind:?}");
        // The bounds of a reply and of the arguments.
        let reply = client.run("WASM.CALLALL all.bytes ARGS 1048500");
        assert!(error(&reply).starts_with("LIMIT node "), "{kind:?}");
        let reply = client.run("WASM.CALLALL all.bytes ARGS 1000000");
        assert_eq!(
            reply.elements().map(<[_]>::len),
            Some(PRIMARIES),
            "{kind:?}"
        );
        let reply = client.call(&["WASM.CALLALL", "all.size", "ARGS", &"x".repeat(1 << 20)]);
        assert!(error(&reply).starts_with("LIMIT the arguments"), "{kind:?}");
        // A slot that moves makes a count doubtful; afterwards it counts once.
        let slot = slot_of(&nodes, "key:0");
        let owner = first_owner(slot);
        let target = (owner + 1) % PRIMARIES;
        let (from, to) = (id(&nodes[owner]), id(&nodes[target]));
        let text = slot.to_string();
        let mut importing = nodes[target].client();
        importing.call(&["CLUSTER", "SETSLOT", &text, "IMPORTING", &from]);
        let mut migrating = nodes[owner].client();
        migrating.call(&["CLUSTER", "SETSLOT", &text, "MIGRATING", &to]);
        let reply = client.run("WASM.CALLALL all.size REDUCE sum");
        assert!(
            error(&reply).starts_with("TRYAGAIN node "),
            "{kind:?}: {reply:?}"
        );
        let reply = client.run("WASM.CALLALL all.size REDUCE sum PARTIAL");
        let mut doubtful: Vec<String> = missing(&reply).into_iter().map(|one| one.0).collect();
        doubtful.sort();
        let mut both = vec![from, to];
        both.sort();
        assert_eq!(doubtful, both, "{kind:?}");
        move_slot(&nodes, slot, target);
        until(
            &mut client,
            &["WASM.CALLALL", "all.size", "REDUCE", "sum"],
            |reply| reply.int() == Some(count),
        );
    }
}

#[test]
fn the_callers_rights_hold_on_every_node() {
    for kind in EngineKind::ends_here() {
        let nodes = with_guest(kind, &[], 0);
        let rights = |node: &Engine, rules: &[&str]| {
            let words = [&["ACL", "SETUSER", "app", "on", ">pw"], rules].concat();
            assert_eq!(node.client().call(&words), Reply::Simple("OK".into()));
        };
        for node in &nodes[1..] {
            rights(node, &["+@all", "~*"]);
        }
        rights(&nodes[0], &["+@all", "~*", "-wasm.callall"]);
        let as_app = |node: &Engine| {
            let mut client = node.client();
            assert_eq!(client.run("AUTH app pw"), Reply::Simple("OK".into()));
            client
        };
        let mut refused = as_app(&nodes[0]);
        let reply = refused.run("WASM.CALLALL all.size");
        assert!(error(&reply).starts_with("NOPERM"), "{kind:?}: {reply:?}");
        // Other nodes ask their own rules for the user.
        let mut client = as_app(&nodes[1]);
        let reply = client.run("WASM.CALLALL all.size REDUCE sum");
        let start = format!("NOPERM node {}", id(&nodes[0]));
        assert!(error(&reply).starts_with(&start), "{kind:?}: {reply:?}");
        rights(&nodes[0], &["+wasm.callall"]);
        let reply = client.run("WASM.CALLALL all.size REDUCE sum");
        assert_eq!(reply, Reply::Int(0), "{kind:?}");
        // A key that the user may read on two nodes alone, if they had it.
        let key = key_of(&nodes, 2);
        let denied = |reply: &Reply| -> Vec<String> {
            let nodes = reply.elements().expect("an array").iter();
            nodes
                .filter_map(|one| {
                    let one = one.elements().expect("a pair");
                    (one[1] == Reply::Int(-16)).then(|| one[0].text().expect("an id").to_owned())
                })
                .collect()
        };
        let read = ["WASM.CALLALL", "all.read", "ARGS", &key];
        assert_eq!(
            denied(&client.call(&read)),
            Vec::<String>::new(),
            "{kind:?}"
        );
        rights(&nodes[2], &["resetkeys", "~other:*"]);
        assert_eq!(denied(&client.call(&read)), [id(&nodes[2])], "{kind:?}");
        for change in [
            &["ACL", "SETUSER", "app", "off"][..],
            &["ACL", "DELUSER", "app"],
        ] {
            nodes[2].client().call(change);
            let reply = client.run("WASM.CALLALL all.size PARTIAL");
            let [(node, reason)] = &missing(&reply)[..] else {
                panic!("{kind:?} {change:?}: {reply:?}");
            };
            assert_eq!(*node, id(&nodes[2]));
            assert!(reason.starts_with("NOPERM node "), "{reason}");
        }
    }
}

#[test]
fn a_node_that_dies_is_named() {
    for kind in EngineKind::ends_here() {
        for partial in [false, true] {
            let mut nodes = with_guest(kind, &LONG, 0);
            // Otherwise the engine itself answers clients that wait, once slots have no node.
            for node in &nodes {
                let reply = node
                    .client()
                    .run("CONFIG SET cluster-require-full-coverage no");
                assert_eq!(reply, Reply::Simple("OK".into()));
            }
            let key = key_of(&nodes, 2);
            while routed(&nodes, &["SET", &key, "1"]).is_none() {}
            let mut client = nodes[0].client();
            let mut words = vec!["WASM.CALLALL", "all.hang", "REDUCE", "sum"];
            if partial {
                words.push("PARTIAL");
            }
            client.send(&encode(&words));
            until_running(&nodes[2], 1);
            let dead = id(&nodes[2]);
            // Its replica would take its slots over.
            nodes[5].kill();
            nodes[2].kill();
            let reply = client.reply();
            if partial {
                assert_eq!(reply.elements().expect("two parts")[0], Reply::Int(0));
                let [(node, reason)] = &missing(&reply)[..] else {
                    panic!("{kind:?}: {reply:?}");
                };
                assert_eq!(*node, dead);
                assert!(reason.starts_with("CLUSTERDOWN node "), "{reason}");
            } else {
                let start = format!("CLUSTERDOWN node {dead}");
                assert!(error(&reply).starts_with(&start), "{kind:?}: {reply:?}");
            }
            // The node is named at once now.
            let reply = client.run("WASM.CALLALL all.size REDUCE sum");
            assert!(error(&reply).starts_with("CLUSTERDOWN"), "{reply:?}");
        }
    }
}

#[test]
fn a_failover_is_survived() {
    for kind in EngineKind::ends_here() {
        let mut nodes = with_guest(kind, &[], 30);
        let sum = ["WASM.CALLALL", "all.size", "REDUCE", "sum"];
        let mut client = nodes[0].client();
        until(&mut nodes[5].client(), &["DBSIZE"], |reply| {
            *reply == nodes[2].client().run("DBSIZE")
        });
        nodes[2].kill();
        let started = Instant::now();
        loop {
            let reply = client.call(&sum);
            if reply == Reply::Int(30) {
                break;
            }
            assert!(error(&reply).len() > 5, "{kind:?}: {reply:?}");
            assert!(started.elapsed() < super::PATIENCE, "{kind:?}: {reply:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}
