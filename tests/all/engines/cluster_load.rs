//! A cluster under load that loses a primary while slots move.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use ferrite_tests::{Client, Engine, EngineKind, Reply, encode};
use rustix::process::Signal;

use super::cluster::{PRIMARIES, cluster, define_everywhere, first_owner, has, move_slot, slot_of};
use super::{PATIENCE, until};
use crate::support::guests::COUNT;

/// The primary to kill; its replica is the third node after it.
const KILLED: usize = 1;

/// Source of the slots that move meanwhile; their target follows.
const FROM: usize = 0;
const TO: usize = 2;

/// Number of slots without keys that move with those that have some.
const EMPTY_SLOTS: usize = 20;

const WRITERS: usize = 4;

/// Keys of each writer. No other writer uses them, so each reply must be above the last.
const KEYS: usize = 5;

/// Number of writes of each key that must succeed before the failure, and after it.
const WRITES: u64 = 10;

/// State that the test and its writers share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Writes that succeeded, for each key.
    written: [[AtomicU64; KEYS]; WRITERS],
    /// Errors that the writers found.
    wrong: Mutex<Vec<String>>,
}

impl Shared {
    fn wrong(&self, what: String) {
        self.wrong.lock().expect("no writer panics").push(what);
    }

    /// Waits until every key was written `WRITES` more times.
    fn wait_for_writes(&self) {
        let now = || self.written.iter().flatten();
        let wanted: Vec<u64> = now()
            .map(|count| count.load(Ordering::Relaxed) + WRITES)
            .collect();
        let started = Instant::now();
        while now()
            .zip(&wanted)
            .any(|(count, wanted)| count.load(Ordering::Relaxed) < *wanted)
        {
            let wrong = self.wrong.lock().expect("no writer panics");
            assert!(wrong.is_empty(), "{wrong:#?}");
            drop(wrong);
            assert!(started.elapsed() < PATIENCE, "some keys are not written");
            thread::yield_now();
        }
    }
}

fn name(writer: usize, key: usize) -> String {
    format!("counter:{writer}:{key}")
}

/// A client of the cluster: a connection to each node, and the node of each of its keys.
struct Writer<'a> {
    nodes: &'a [Engine],
    connections: Vec<Option<Client>>,
    places: [usize; KEYS],
    /// The highest count of each key that must survive the failure.
    kept: [i64; KEYS],
}

impl<'a> Writer<'a> {
    fn new(nodes: &'a [Engine]) -> Self {
        Self {
            nodes,
            connections: nodes.iter().map(|_| None).collect(),
            places: [0; KEYS],
            kept: [0; KEYS],
        }
    }

    /// Returns a node's reply; `None` if it is down or disconnects.
    fn ask(&mut self, node: usize, words: &[&str]) -> Option<Reply> {
        let connection = &mut self.connections[node];
        if connection.is_none() {
            *connection = Client::try_connect(self.nodes[node].address()).ok();
        }
        let client = connection.as_mut()?;
        let sent = client.try_send(&encode(words)).is_ok();
        let reply = if sent { client.next() } else { None };
        if reply.is_none() {
            *connection = None;
        }
        reply
    }

    /// The node that a redirection names by its port.
    fn named(&self, redirection: &str) -> Option<usize> {
        let port: u16 = redirection.rsplit(':').next()?.parse().ok()?;
        self.nodes.iter().position(|node| node.port() == port)
    }

    /// Tries to increment a key once; returns the count, and the node that ran the call.
    fn count(&mut self, key: usize, name: &str) -> Result<Option<(i64, usize)>, String> {
        let words = ["WASM.CALL", "count", "KEYS", name];
        let mut node = self.places[key];
        let mut reply = self.ask(node, &words);
        let asked = reply.as_ref().and_then(Reply::error);
        if let Some(redirection) = asked.filter(|error| error.starts_with("ASK "))
            && let Some(other) = self.named(redirection)
        {
            // An `ASK` redirection is for this request only.
            node = other;
            reply = self
                .ask(node, &["ASKING"])
                .and_then(|_| self.ask(node, &words));
        }
        let Some(reply) = reply else {
            self.places[key] = (self.places[key] + 1) % self.nodes.len();
            return Ok(None);
        };
        if let Some(count) = reply.int() {
            return Ok(Some((count, node)));
        }
        let error = reply.error().unwrap_or_default();
        let code = error.split(' ').next().unwrap_or_default();
        // A call off the main thread may find at its end that its slot has moved.
        let late = code == "STORE"
            && ["MOVED", "ASK", "CLUSTERDOWN"]
                .iter()
                .any(|why| error.contains(why));
        match code {
            "MOVED" => self.places[key] = self.named(error).unwrap_or(0),
            "ASK" | "TRYAGAIN" | "CLUSTERDOWN" => thread::yield_now(),
            _ if late => {}
            _ => return Err(format!("{name} at node {node}: {reply:?}")),
        }
        Ok(None)
    }

    fn write(mut self, writer: usize, shared: &Shared) {
        for key in (0..KEYS).cycle() {
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            let name = name(writer, key);
            let (count, node) = match self.count(key, &name) {
                Ok(Some(counted)) => counted,
                Ok(None) => continue,
                Err(wrong) => return shared.wrong(wrong),
            };
            let kept = self.kept[key];
            if count <= kept {
                return shared.wrong(format!(
                    "{name} is {count} at node {node}, and {kept} was acknowledged"
                ));
            }
            shared.written[writer][key].fetch_add(1, Ordering::Relaxed);
            // Of the killed node's writes, only those survive that its replica has.
            let survives = node != KILLED
                || self
                    .ask(node, &["WAIT", "1", "200"])
                    .is_some_and(|replicas| replicas.int() == Some(1));
            if survives {
                self.kept[key] = count;
            }
        }
    }
}

#[test]
fn no_acknowledged_write_is_lost_when_a_primary_is_killed_while_slots_move() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster(kind);
        define_everywhere(&mut nodes[0].client(), "count", COUNT);
        for node in &nodes {
            has(node, &["count"]);
            // Its code has arrived too.
            let exports = ["WASM.EXPORTS", "count"];
            until(&mut node.client(), &exports, |reply| {
                reply.error().is_none()
            });
        }
        let slots: Vec<usize> = (0..WRITERS)
            .flat_map(|writer| (0..KEYS).map(move |key| name(writer, key)))
            .map(|name| slot_of(&nodes, &name))
            .collect();
        for primary in 0..PRIMARIES {
            let keys = slots.iter().filter(|slot| first_owner(**slot) == primary);
            assert!(keys.count() >= 2, "few keys are at node {primary}");
        }
        let mut moving: Vec<usize> = (0..EMPTY_SLOTS)
            .chain(slots.iter().copied())
            .filter(|&slot| first_owner(slot) == FROM)
            .collect();
        moving.sort_unstable();
        moving.dedup();

        let shared = Shared::default();
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (nodes, shared) = (&nodes, &shared);
                scope.spawn(move || Writer::new(nodes).write(writer, shared));
            }
            // Stops the writers even if the test fails.
            let _stop = Stop(&shared.stop);
            shared.wait_for_writes();
            let (first, rest) = moving.split_at(moving.len() / 2);
            let (began, has_begun) = std::sync::mpsc::channel();
            let nodes = &nodes;
            let resharding = scope.spawn(move || {
                for &slot in first {
                    move_slot(nodes, slot, TO);
                }
                began.send(()).expect("the test waits for it");
                for &slot in rest {
                    move_slot(nodes, slot, TO);
                }
            });
            has_begun.recv().expect("slots are moved");
            nodes[KILLED].signal(Signal::KILL);
            let replica = &nodes[KILLED + PRIMARIES];
            until(&mut replica.client(), &["ROLE"], |role| {
                role.elements()
                    .is_some_and(|role| role[0].text() == Some("master"))
            });
            resharding.join().expect("all slots are moved");
            shared.wait_for_writes();
        });
        let wrong = shared.wrong.into_inner().expect("no writer panics");
        assert!(wrong.is_empty(), "{kind:?}: {wrong:#?}");
    }
}

/// Stops the writers when dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
