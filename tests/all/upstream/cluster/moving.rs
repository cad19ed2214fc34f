//! Slots that move while calls and other commands use them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ferrite_tests::{Engine, EngineKind, Reply};

use super::{COUNT, PAIR, PRIMARIES, before, define, nodes, number, on_each, owner};
use crate::engines::cluster::{id, move_slot_at_once, slot_of};

/// A slot on its way from one node to another.
struct Moving<'n> {
    nodes: &'n [Engine],
    slot: String,
    from: usize,
    to: usize,
}

impl<'n> Moving<'n> {
    /// Begins to move the slot of a key.
    fn begin(nodes: &'n [Engine], key: &str, from: usize, to: usize) -> Self {
        let (mut source, mut target) = (nodes[from].client(), nodes[to].client());
        let slot = source.run(&format!("CLUSTER KEYSLOT {key}"));
        let slot = slot.int().expect("a slot").to_string();
        let (from_id, to_id) = (id(&nodes[from]), id(&nodes[to]));
        target.call(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        source.call(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        Self {
            nodes,
            slot,
            from,
            to,
        }
    }

    /// Moves one key.
    fn take(&self, key: &[u8]) {
        let port = self.nodes[self.to].port().to_string();
        let words: [&[u8]; 6] = [
            b"MIGRATE",
            b"127.0.0.1",
            port.as_bytes(),
            key,
            b"0",
            b"5000",
        ];
        let moved = self.nodes[self.from].client().call(&words);
        assert!(moved.error().is_none(), "{moved:?}");
    }

    /// Moves all keys that are left, and the slot with them.
    fn end(self) {
        let (mut source, mut target) =
            (self.nodes[self.from].client(), self.nodes[self.to].client());
        loop {
            // One at a time, so that calls meet a slot of which a part has moved.
            let found = source.call(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "1"]);
            let Some([Reply::Bulk(found)]) = found.elements() else {
                break;
            };
            self.take(found);
        }
        let to_id = id(&self.nodes[self.to]);
        let own = ["CLUSTER", "SETSLOT", &self.slot, "NODE", &to_id];
        for node in [&mut target, &mut source] {
            node.call(&own);
        }
        for node in self.nodes.iter().take(PRIMARIES) {
            node.client().call(&own);
        }
    }
}

/// Moves the slot of a key from one node to another, while clients use it.
pub(super) fn migrate(nodes: &[Engine], key: &str, from: usize, to: usize) {
    Moving::begin(nodes, key, from, to).end();
}

#[test]
fn a_slot_moves_while_calls_run() {
    const MOVES: usize = 6;
    on_each(|kind| {
        let nodes = nodes(kind, false);
        let servers = [before(&nodes).start(), before(&nodes).start()];
        for server in &servers {
            define(&mut server.client(), "count", COUNT);
            define(&mut server.client(), "pair", PAIR);
        }
        // Other keys of the slot, so that a part of it has moved for a while.
        for key in 0..20 {
            servers[0].client().run(&format!("SET {{n}}:{key} x"));
        }
        let done = AtomicBool::new(false);
        let (called, added, paired) = thread::scope(|scope| {
            let repeat = |index: usize, words: &'static [&'static str]| {
                let (servers, done) = (&servers, &done);
                scope.spawn(move || {
                    let mut client = servers[index % servers.len()].client();
                    let mut count = 0;
                    while !done.load(Ordering::SeqCst) {
                        let reply = client.call(words);
                        assert!(reply.int().is_some(), "{words:?}: {reply:?}");
                        count += 1;
                    }
                    count
                })
            };
            let callers: Vec<_> = (0..4)
                .map(|index| repeat(index, &["WASM.CALL", "count", "KEYS", "{n}"]))
                .collect();
            let adders: Vec<_> = (0..2)
                .map(|index| repeat(index, &["INCR", "{n}:plain"]))
                .collect();
            let pairs = vec![repeat(1, &["WASM.CALL", "pair", "KEYS", "{n}:l", "{n}:r"])];
            for round in 0..MOVES {
                let from = owner(&nodes, "{n}");
                let to = (from + 1) % PRIMARIES;
                match kind {
                    EngineKind::Valkey if round % 2 == 1 => {
                        let slot = slot_of(&nodes, "{n}");
                        move_slot_at_once(&nodes, slot, from, to);
                    }
                    _ => migrate(&nodes, "{n}", from, to),
                }
            }
            done.store(true, Ordering::SeqCst);
            let sum = |threads: Vec<thread::ScopedJoinHandle<'_, i64>>| -> i64 {
                let counts = threads
                    .into_iter()
                    .map(|one| one.join().expect("no failure"));
                counts.sum()
            };
            (sum(callers), sum(adders), sum(pairs))
        });
        assert_eq!(number(&nodes, "{n}"), called, "{kind:?}");
        assert_eq!(number(&nodes, "{n}:plain"), added, "{kind:?}");
        for key in ["{n}:l", "{n}:r"] {
            assert_eq!(number(&nodes, key), paired, "{kind:?}: {key}");
        }
        assert!(called > 0 && added > 0 && paired > 0);
    });
}

#[test]
fn keys_are_reached_ahead_of_their_slot() {
    on_each(|kind| {
        let nodes = nodes(kind, false);
        let server = before(&nodes).start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        define(&mut client, "pair", PAIR);
        for key in ["{n}ahead", "{n}behind"] {
            assert_eq!(
                client.run(&format!("WASM.CALL count KEYS {key}")),
                Reply::Int(1)
            );
        }
        let from = owner(&nodes, "{n}");
        let moving = Moving::begin(&nodes, "{n}", from, (from + 1) % PRIMARIES);
        moving.take(b"{n}ahead");
        // One key is where it is, and a new one is made where the slot goes.
        for (key, expected) in [("{n}ahead", 2), ("{n}behind", 2), ("{n}new", 1)] {
            let reply = client.run(&format!("WASM.CALL count KEYS {key}"));
            assert_eq!(reply, Reply::Int(expected), "{kind:?}: {key}");
            let reply = client.run(&format!("INCR {key}"));
            assert_eq!(reply, Reply::Int(expected + 1), "{kind:?}: {key}");
        }
        // Two that are apart are waited for, and nothing is half done.
        let both = "WASM.CALL pair TIMEOUT 300 KEYS {n}ahead {n}behind";
        let reply = client.run(both);
        let error = reply.error().unwrap_or_default();
        assert!(
            error.starts_with("TRYAGAIN") || error.starts_with("TIMEOUT"),
            "{kind:?}: {reply:?}"
        );
        moving.end();
        for (key, expected) in [("{n}ahead", "3"), ("{n}behind", "3"), ("{n}new", "2")] {
            let reply = client.run(&format!("GET {key}"));
            assert_eq!(reply.text(), Some(expected), "{kind:?}: {key}");
        }
        let both = "WASM.CALL pair KEYS {n}ahead {n}behind";
        assert_eq!(client.run(both), Reply::Int(4));
    });
}
