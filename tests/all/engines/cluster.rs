//! Three primaries and three replicas: routing, functions on every node, resharding, failover.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ferrite_tests::{Client, Engine, EngineKind, Reply};

use super::{OPS, info, names, until};
use crate::support::guests::{ADD1, COUNT};

pub(crate) const PRIMARIES: usize = 3;
pub(crate) const SLOTS: usize = 16_384;

fn node(kind: EngineKind, module: &[&str]) -> Engine {
    kind.builder()
        .module(module)
        .arguments(&["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"])
        .arguments(&["--repl-diskless-sync-delay", "0", "--appendonly", "yes"])
        .start()
}

pub(crate) fn id(engine: &Engine) -> String {
    let reply = engine.client().run("CLUSTER MYID");
    reply.text().expect("an id").to_owned()
}

/// Introduces nodes to the first one. An engine gives up an introduction that takes longer than its
/// node timeout, as it may on a machine under load.
fn meet(first: &mut Client, others: &[Engine]) {
    for other in others {
        let port = other.port().to_string();
        first.call(&["CLUSTER", "MEET", "127.0.0.1", &port]);
    }
}

/// Makes a cluster of nodes: a primary's replica is the third node after it.
pub(crate) fn join(nodes: &[Engine]) {
    join_with(nodes, PRIMARIES);
}

/// The same with this number of primaries, as many nodes before their replicas.
fn join_with(nodes: &[Engine], primaries: usize) {
    const AGAIN: Duration = Duration::from_secs(3);
    let mut first = nodes[0].client();
    meet(&mut first, &nodes[1..]);
    let known = |client: &mut Client| info_of_cluster(client, "cluster_known_nodes");
    let mut met = Instant::now();
    while nodes
        .iter()
        .any(|node| known(&mut node.client()) != nodes.len().to_string())
    {
        if met.elapsed() > AGAIN {
            meet(&mut first, &nodes[1..]);
            met = Instant::now();
        }
    }
    for (index, primary) in nodes.iter().take(primaries).enumerate() {
        let start = (SLOTS * index / primaries).to_string();
        let end = (SLOTS * (index + 1) / primaries - 1).to_string();
        let reply = primary
            .client()
            .call(&["CLUSTER", "ADDSLOTSRANGE", &start, &end]);
        assert_eq!(reply, Reply::Simple("OK".into()));
    }
    for (index, replica) in nodes.iter().enumerate().skip(primaries) {
        let primary = id(&nodes[index - primaries]);
        until(
            &mut replica.client(),
            &["CLUSTER", "REPLICATE", &primary],
            |reply| reply.error().is_none(),
        );
    }
    serves(nodes);
    for replica in nodes.iter().skip(primaries) {
        while info(&mut replica.client(), "replication", "master_link_status") != "up" {}
    }
}

/// Waits until all nodes serve their slots.
pub(crate) fn serves(nodes: &[Engine]) {
    for node in nodes {
        until(&mut node.client(), &["CLUSTER", "INFO"], |reply| {
            let text = reply.text().unwrap_or_default();
            text.contains("cluster_state:ok")
                && text.contains(&format!("cluster_known_nodes:{}", nodes.len()))
        });
    }
}

/// A field of `CLUSTER INFO`.
fn info_of_cluster(client: &mut Client, field: &str) -> String {
    let reply = client.run("CLUSTER INFO");
    let text = reply.text().unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

pub(crate) fn cluster(kind: EngineKind) -> Vec<Engine> {
    cluster_with(kind, &[])
}

/// The same, with arguments of the module.
pub(crate) fn cluster_with(kind: EngineKind, module: &[&str]) -> Vec<Engine> {
    let nodes: Vec<Engine> = (0..2 * PRIMARIES).map(|_| node(kind, module)).collect();
    join(&nodes);
    nodes
}

/// A cluster of primaries alone, with arguments of the module.
pub(crate) fn cluster_of_primaries(
    kind: EngineKind,
    primaries: usize,
    module: &[&str],
) -> Vec<Engine> {
    let nodes: Vec<Engine> = (0..primaries).map(|_| node(kind, module)).collect();
    join_with(&nodes, primaries);
    nodes
}

pub(crate) fn define_everywhere(client: &mut Client, name: &str, source: &str) {
    let permissions = super::READ_WRITE;
    let words = [
        "WASM.DEFINE",
        name,
        source,
        "PERMISSIONS",
        permissions,
        "CLUSTER",
    ];
    let reply = client.call(&words);
    assert!(reply.error().is_none(), "{name}: {reply:?}");
}

pub(crate) fn has(engine: &Engine, wanted: &[&str]) {
    until(&mut engine.client(), &["WASM.LIST"], |_| {
        names(&mut engine.client()) == wanted
    });
}

/// Sends a command to the node that accepts it, as a client of a cluster does.
pub(crate) fn routed(nodes: &[Engine], words: &[&str]) -> Option<Reply> {
    nodes.iter().find_map(|node| {
        let stream = std::net::TcpStream::connect(node.address());
        stream.ok()?;
        let mut client = node.client();
        client.send(&ferrite_tests::encode(words));
        let reply = client.next()?;
        reply.error().is_none().then_some(reply)
    })
}

#[test]
fn calls_are_routed_by_their_keys() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster(kind);
        define_everywhere(&mut nodes[0].client(), "count", COUNT);
        for node in &nodes {
            has(node, &["count"]);
        }
        let mut client = nodes[0].client();
        let reply = client.run("WASM.CALL count KEYS a b");
        assert!(
            reply
                .error()
                .is_some_and(|error| error.starts_with("CROSSSLOT"))
        );
        let reply = client.run("WASM.CALL count KEYS a");
        assert!(
            reply
                .error()
                .is_some_and(|error| error.starts_with("MOVED 15495")),
            "{kind:?}: {reply:?}"
        );
        let owner = &nodes[2];
        until(
            &mut owner.client(),
            &["WASM.CALL", "count", "KEYS", "a"],
            |reply| reply.int() == Some(1),
        );
        // A replica answers `READONLY` clients, and read-only calls.
        let mut reader = nodes[2 + PRIMARIES].client();
        let read = ["WASM.CALL_RO", "count", "KEYS", "a"];
        for words in [&read, &["WASM.CALL", "count", "KEYS", "a"]] {
            let reply = reader.call(words);
            let moved = reply
                .error()
                .is_some_and(|error| error.starts_with("MOVED 15495"));
            assert!(moved, "{kind:?}: {reply:?}");
            reader.run("READONLY");
        }
        // The function tries to write, and replies with the status of the refused write.
        until(&mut reader, &read, |reply| reply.int() == Some(-17));
        // A key that the command does not name is checked too.
        let permissions = super::READ_WRITE;
        client.call(&[
            "WASM.DEFINE",
            "ops",
            OPS,
            "PERMISSIONS",
            permissions,
            "CLUSTER",
        ]);
        let reply = client.call(&["WASM.CALL", "ops.any", "ARGS", "GET", "*1\r\n$1\r\na\r\n"]);
        let text = reply.text().unwrap_or_default();
        assert!(text.starts_with("-"), "{kind:?}: {reply:?}");
    }
}

#[test]
fn functions_reach_nodes_that_were_down_or_join_later() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster(kind);
        let mut client = nodes[0].client();
        define_everywhere(&mut client, "add1", ADD1);
        define_everywhere(&mut client, "gone", ADD1);
        for node in &nodes {
            has(node, &["add1", "gone"]);
        }
        // A function of the cluster cannot be changed on one node alone.
        let reply = client.run("WASM.UNLOAD gone");
        assert!(
            reply.error().is_some_and(|error| error.contains("CLUSTER")),
            "{reply:?}"
        );
        let reply = nodes[1].client().run("WASM.UNLOAD gone CLUSTER");
        assert_eq!(reply, Reply::Simple("OK".into()));
        for node in &nodes {
            has(node, &["add1"]);
        }
        let late = node(kind, &[]);
        // A single node is a cluster that is down; the engine may report that to clients.
        let permissions = super::READ_WRITE;
        let words = ["WASM.DEFINE", "own", ADD1, "PERMISSIONS", permissions];
        until(&mut late.client(), &words, |reply| {
            let error = reply.error().unwrap_or_default();
            assert!(
                ["", "CLUSTERDOWN The cluster is down"].contains(&error)
                    || error.starts_with("EXISTS"),
                "{kind:?}: {reply:?}"
            );
            !error.starts_with("CLUSTERDOWN")
        });
        let known = nodes.len() + 1;
        let late = [late];
        while info_of_cluster(&mut late[0].client(), "cluster_known_nodes") != known.to_string() {
            meet(&mut client, &late);
            thread::sleep(Duration::from_millis(500));
        }
        let [late] = late;
        has(&late, &["add1", "own"]);
        // Its code came from a peer.
        until(
            &mut late.client(),
            &["WASM.CALL", "add1", "ARGS", "1"],
            |reply| reply.int() == Some(2),
        );
    }
}

#[test]
fn no_acknowledged_write_is_lost_while_slots_move_and_a_replica_takes_over() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster(kind);
        define_everywhere(&mut nodes[0].client(), "count", COUNT);
        for node in &nodes {
            has(node, &["count"]);
        }
        let written = |key: &str| {
            let words = ["WASM.CALL", "count", "KEYS", key];
            while routed(&nodes, &words).is_none() {}
        };
        // Each node has fetched the code by then.
        for writer in 0..3 {
            written(&format!("counter:{writer}"));
        }
        let stop = AtomicBool::new(false);
        let acknowledged = thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let (nodes, stop) = (&nodes, &stop);
                    scope.spawn(move || {
                        let key = format!("counter:{writer}");
                        let words = ["WASM.CALL", "count", "KEYS", &key];
                        let mut highest = 0;
                        while !stop.load(Ordering::Relaxed) {
                            let reply = routed(nodes, &words);
                            highest = reply.and_then(|reply| reply.int()).unwrap_or(highest);
                        }
                        (key, highest)
                    })
                })
                .collect();
            let slot = slot_of(&nodes, "counter:0");
            move_slot(&nodes, slot, (first_owner(slot) + 1) % PRIMARIES);
            // On request, a replica takes over without a loss.
            let replica = &nodes[PRIMARIES];
            let reply = replica.client().run("CLUSTER FAILOVER");
            assert_eq!(reply, Reply::Simple("OK".into()));
            until(&mut replica.client(), &["ROLE"], |role| {
                role.elements()
                    .is_some_and(|role| role[0].text() == Some("master"))
            });
            stop.store(true, Ordering::Relaxed);
            writers
                .into_iter()
                .map(|writer| writer.join().expect("no panic"))
                .collect::<Vec<_>>()
        });
        for (key, highest) in acknowledged {
            assert!(highest > 0, "{kind:?}: {key} was never written");
            let stored = routed(&nodes, &["INCRBY", &key, "0"]).and_then(|reply| reply.int());
            // One more write may have been done than was acknowledged.
            assert!(
                stored.is_some_and(|stored| stored >= highest),
                "{kind:?}: {key} is {stored:?}, {highest} was acknowledged"
            );
        }
    }
}

/// The slot of a key.
pub(crate) fn slot_of(nodes: &[Engine], key: &str) -> usize {
    let slot = nodes[0].client().call(&["CLUSTER", "KEYSLOT", key]);
    let slot = slot.int().and_then(|slot| usize::try_from(slot).ok());
    slot.expect("a slot")
}

/// Index of the node that owns a slot in a new cluster.
pub(crate) const fn first_owner(slot: usize) -> usize {
    owner_of(slot, PRIMARIES)
}

/// The same in a new cluster with this number of primaries.
pub(crate) const fn owner_of(slot: usize, primaries: usize) -> usize {
    // The first node whose range ends behind the slot.
    ((slot + 1) * primaries - 1) / SLOTS
}

/// Moves a slot from its first owner to another primary, key by key, as a resharding does.
pub(crate) fn move_slot(nodes: &[Engine], slot: usize, target: usize) {
    let mut moving = MovingSlot::begin(slot, &nodes[first_owner(slot)], &nodes[target]);
    moving.move_keys();
    moving.end();
}

/// A slot on its way to another primary.
pub(crate) struct MovingSlot {
    slot: String,
    source: Client,
    target: Client,
    target_id: String,
    target_port: String,
}

impl MovingSlot {
    /// Says to both nodes that the slot moves, and moves none of its keys yet.
    pub(crate) fn begin(slot: usize, source: &Engine, target: &Engine) -> Self {
        let mut moving = Self {
            slot: slot.to_string(),
            source: source.client(),
            target: target.client(),
            target_id: id(target),
            target_port: target.port().to_string(),
        };
        let (slot, from, to) = (&moving.slot, id(source), &moving.target_id);
        let words = ["CLUSTER", "SETSLOT", slot, "IMPORTING", &from];
        moving.target.call(&words);
        let words = ["CLUSTER", "SETSLOT", slot, "MIGRATING", to];
        moving.source.call(&words);
        moving
    }

    /// Moves the keys that the slot has now.
    pub(crate) fn move_keys(&mut self) {
        loop {
            let words = ["CLUSTER", "GETKEYSINSLOT", &self.slot, "100"];
            let keys = self.source.call(&words);
            let keys = keys.elements().unwrap_or_default().to_vec();
            if keys.is_empty() {
                break;
            }
            for key in keys {
                let name = key.text().expect("a key");
                let port = &self.target_port;
                let words = ["MIGRATE", "127.0.0.1", port, name, "0", "5000"];
                self.source.call(&words);
            }
        }
    }

    /// Gives the slot to the other node.
    pub(crate) fn end(mut self) {
        let words = ["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.target_id];
        for client in [&mut self.target, &mut self.source] {
            client.call(&words);
        }
    }
}

/// Moves a slot as a whole, as Valkey can since release 9, and waits until its new owner has it.
pub(crate) fn move_slot_at_once(nodes: &[Engine], slot: usize, from: usize, to: usize) {
    let to_id = id(&nodes[to]);
    let text = slot.to_string();
    let words = [
        "CLUSTER",
        "MIGRATESLOTS",
        "SLOTSRANGE",
        &text,
        &text,
        "NODE",
        &to_id,
    ];
    let begun = nodes[from].client().call(&words);
    assert!(begun.error().is_none(), "{begun:?}");
    until(&mut nodes[to].client(), &["CLUSTER", "SLOTS"], |reply| {
        let mut ranges = reply.elements().unwrap_or_default().iter();
        let has = |range: &Reply| {
            let [start, end, node, ..] = range.elements()? else {
                return None;
            };
            let at = i64::try_from(slot).ok()?;
            let here = node.elements()?.get(2)?.text() == Some(&to_id);
            Some(here && (start.int()?..=end.int()?).contains(&at))
        };
        ranges.any(|range| has(range) == Some(true))
    });
}
