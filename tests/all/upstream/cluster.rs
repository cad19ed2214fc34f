//! A cluster behind the server: keys on several nodes, slots that move, and a primary that fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ferrite_tests::{Client, Engine, EngineKind, Reply, Server, ServerBuilder, encode};

use super::sentinel::replicated;
use super::{COUNT, define, on_each};
use crate::engines::cluster::{id, join, routed};
use crate::engines::until;

const PRIMARIES: usize = 3;

/// Adds to the integer at the key that its argument names, which no call declares.
const ELSEWHERE: &str = r#"(module
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (memory (export "memory") 1)
  (func (export "run")
    (drop (call $incr_by (i32.const 64) (call $arg (i32.const 0) (i32.const 64) (i32.const 256)) (i64.const 1) (i32.const 0)))
    (call $reply_int (i64.load (i32.const 0)))))"#;

/// Adds to the integers at two keys, and replies with the first.
const PAIR: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (memory (export "memory") 1)
  (func (export "run")
    (drop (call $incr_by (i32.const 64) (call $key (i32.const 0) (i32.const 64) (i32.const 256)) (i64.const 1) (i32.const 0)))
    (drop (call $incr_by (i32.const 64) (call $key (i32.const 1) (i32.const 64) (i32.const 256)) (i64.const 1) (i32.const 8)))
    (call $reply_int (i64.load (i32.const 0)))))"#;

fn nodes(kind: EngineKind, replicas: bool) -> Vec<Engine> {
    let count = match replicas {
        true => 2 * PRIMARIES,
        false => PRIMARIES,
    };
    let start = |_| {
        let builder = kind.builder().unmodified();
        builder
            .arguments(&["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"])
            .arguments(&["--repl-diskless-sync-delay", "0", "--appendonly", "yes"])
            .arguments(&["--appendfsync", "no"])
            .start()
    };
    let nodes: Vec<Engine> = (0..count).map(start).collect();
    join(&nodes);
    nodes
}

/// Prepares a server in front of a cluster, of which it is told the first two nodes.
fn before(nodes: &[Engine]) -> ServerBuilder {
    let (first, second) = (nodes[0].address(), nodes[1].address());
    let url = format!("redis+cluster://{first},{second}");
    Server::builder().arguments(&["--upstream", &url])
}

/// Returns the number at a key, from the node that has it.
fn number(nodes: &[Engine], key: &str) -> i64 {
    let reply = routed(nodes, &["GET", key]);
    let text = reply.as_ref().and_then(Reply::text).unwrap_or("0");
    text.parse().expect("a number")
}

/// Moves the slot of a key from one node to another, while clients use it.
fn migrate(nodes: &[Engine], key: &str, from: usize, to: usize) {
    let (mut source, mut target) = (nodes[from].client(), nodes[to].client());
    let slot = source.run(&format!("CLUSTER KEYSLOT {key}"));
    let slot = slot.int().expect("a slot").to_string();
    let (from_id, to_id) = (id(&nodes[from]), id(&nodes[to]));
    let port = nodes[to].port().to_string();
    target.call(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    source.call(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    loop {
        // One at a time, so that calls meet a slot of which a part has moved.
        let found = source.call(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]);
        let Some([Reply::Bulk(found)]) = found.elements() else {
            break;
        };
        let words: [&[u8]; 6] = [
            b"MIGRATE",
            b"127.0.0.1",
            port.as_bytes(),
            found,
            b"0",
            b"5000",
        ];
        let moved = source.call(&words);
        assert!(moved.error().is_none(), "{moved:?}");
    }
    for node in [&mut target, &mut source] {
        node.call(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    for node in nodes.iter().take(PRIMARIES) {
        node.client()
            .call(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
}

/// Moves the slot of a key as a whole, as Valkey can since release 9.
fn migrate_at_once(nodes: &[Engine], key: &str, from: usize, to: usize) {
    let mut source = nodes[from].client();
    let slot = source.run(&format!("CLUSTER KEYSLOT {key}"));
    let slot = slot.int().expect("a slot").to_string();
    let to_id = id(&nodes[to]);
    let words = [
        "CLUSTER",
        "MIGRATESLOTS",
        "SLOTSRANGE",
        &slot,
        &slot,
        "NODE",
        &to_id,
    ];
    let begun = source.call(&words);
    assert!(begun.error().is_none(), "{begun:?}");
    until(&mut nodes[to].client(), &["GET", key], |reply| {
        reply.error().is_none()
    });
}

fn owner(nodes: &[Engine], key: &str) -> usize {
    let has = |node: &Engine| node.client().run(&format!("GET {key}")).error().is_none();
    nodes.iter().position(has).expect("a node has the slot")
}

#[test]
fn calls_find_the_node_of_their_keys() {
    on_each(|kind| {
        let nodes = nodes(kind, false);
        let (one, other) = (before(&nodes).start(), before(&nodes).start());
        let mut client = one.client();
        for (name, source) in [("count", COUNT), ("pair", PAIR), ("elsewhere", ELSEWHERE)] {
            define(&mut client, name, source);
        }
        let mut second = other.client();
        until(&mut second, &["WASM.CALL", "count", "KEYS", "x"], |reply| {
            reply.int() == Some(1)
        });
        for round in 1..3 {
            for key in 0..30 {
                let call = format!("WASM.CALL count KEYS key:{key}");
                let client = if key % 2 == round % 2 {
                    &mut client
                } else {
                    &mut second
                };
                assert_eq!(client.run(&call), Reply::Int(round), "{kind:?}: {call}");
            }
        }
        let keys = |node: &Engine| match node.client().run("KEYS key:*") {
            Reply::Array(keys) => keys.len(),
            other => panic!("{other:?}"),
        };
        let counts: Vec<usize> = nodes.iter().map(keys).collect();
        assert_eq!(counts.iter().sum::<usize>(), 30, "{counts:?}");
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        // Several keys of one slot, and one that is not declared.
        assert_eq!(client.run("WASM.CALL pair KEYS {s}:a {s}:b"), Reply::Int(1));
        assert_eq!(
            client.run("WASM.CALL elsewhere KEYS {s}:a ARGS {s}:n"),
            Reply::Int(1)
        );
        assert_eq!(client.run("WASM.CALL elsewhere ARGS alone"), Reply::Int(1));
        for (line, named) in [
            (
                "WASM.CALL count KEYS a b",
                ["\"a\" (slot 15495)", "\"b\" (slot 3300)"],
            ),
            (
                "WASM.CALL elsewhere KEYS a ARGS b",
                ["\"a\" (slot 15495)", "\"b\" (slot 3300)"],
            ),
        ] {
            let reply = client.run(line);
            let error = reply.error().unwrap_or_default();
            assert!(
                error.starts_with("CROSSSLOT") && named.iter().all(|key| error.contains(key)),
                "{line}: {reply:?}"
            );
        }
        assert_eq!(client.run("EXISTS a"), Reply::Int(0));
        assert_eq!(client.run("EXISTS b"), Reply::Int(0));
    });
}

#[test]
fn a_node_that_is_addressed_as_the_only_one_says_how_to_name_a_cluster() {
    on_each(|kind| {
        let nodes = nodes(kind, false);
        // The functions are kept on the node that has their slot.
        let url = |node: &Engine| format!("redis://{}", node.address());
        let start = |node| {
            Server::builder()
                .arguments(&["--upstream", &url(node)])
                .start()
        };
        let servers: Vec<Server> = nodes.iter().map(start).collect();
        let replies = servers.iter().map(|server| {
            let reply = server.client().call(&["WASM.DEFINE", "count", COUNT]);
            reply.error().unwrap_or_default().to_owned()
        });
        let told = replies.filter(|error| error.contains("write redis+cluster://"));
        assert_eq!(told.count(), PRIMARIES - 1);
    });
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
                        migrate_at_once(&nodes, "{n}", from, to);
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
fn a_primary_that_fails_is_replaced() {
    on_each(|kind| {
        let mut nodes = nodes(kind, true);
        let server = before(&nodes).start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        // Not the node of the functions, which the server needs no more, and one that is no seed.
        let key = "a";
        let primary = owner(&nodes, key);
        for expected in 1..10 {
            let reply = client.run(&format!("WASM.CALL count KEYS {key}"));
            assert_eq!(reply, Reply::Int(expected));
        }
        replicated(&nodes[primary], "{a}:last");
        nodes[primary].kill();
        let call = ["WASM.CALL", "count", "KEYS", key];
        let reply = until(&mut client, &call, |reply| reply.int().is_some());
        assert_eq!(reply, Reply::Int(10), "{kind:?}");
        let mut client = server.client();
        until(&mut client, &["GET", key], |reply| {
            reply.text() == Some("10")
        });
    });
}

#[test]
fn calls_work_where_scripts_are_forbidden() {
    on_each(|kind| {
        let nodes = nodes(kind, false);
        for node in &nodes {
            let mut direct = node.client();
            direct.run("ACL SETUSER plain on >pw ~* &* +@all -@scripting");
        }
        let server = before(&nodes).start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        define(&mut client, "elsewhere", ELSEWHERE);
        client.run("AUTH plain pw");
        for round in 1..3 {
            for key in 0..10 {
                let call = format!("WASM.CALL count KEYS key:{key}");
                assert_eq!(client.run(&call), Reply::Int(round), "{kind:?}: {call}");
                let call = format!("WASM.CALL elsewhere ARGS other:{key}");
                assert_eq!(client.run(&call), Reply::Int(round), "{kind:?}: {call}");
            }
        }
        let from = owner(&nodes, "key:1");
        migrate(&nodes, "key:1", from, (from + 1) % PRIMARIES);
        assert_eq!(client.run("WASM.CALL count KEYS key:1"), Reply::Int(3));
    });
}

fn ok() -> Reply {
    Reply::Simple("OK".to_owned())
}

#[test]
fn other_commands_find_the_node_of_their_key() {
    on_each(|kind| {
        let nodes = nodes(kind, false);
        let server = before(&nodes).start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        // A pipeline over all nodes, with calls in between, is answered in order.
        let mut requests = Vec::new();
        for key in 0..100 {
            let name = format!("key:{key}");
            requests.extend(encode(&["SET", &name, &key.to_string()]));
            requests.extend(encode(&["GET", &name]));
            requests.extend(encode(&["WASM.CALL", "count", "KEYS", &name]));
        }
        client.send(&requests);
        for key in 0..100 {
            assert_eq!(client.reply(), ok());
            assert_eq!(client.reply().text(), Some(key.to_string().as_str()));
            assert_eq!(client.reply(), Reply::Int(key + 1));
        }
        assert_eq!(
            client.run("DBSIZE").int().map(|size| size >= 100),
            Some(true)
        );
        let keys = client.run("KEYS key:*");
        assert_eq!(keys.elements().map(<[_]>::len), Some(100));
        // So does a scan, step by step.
        let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
        loop {
            let reply = client.run(&format!("SCAN {cursor} MATCH key:* COUNT 7"));
            let parts = reply.elements().expect("a cursor and keys");
            cursor = parts[0].text().expect("a cursor").to_owned();
            let keys = parts[1].elements().expect("keys").iter();
            found.extend(keys.map(|key| key.text().expect("a key").to_owned()));
            if cursor == "0" {
                break;
            }
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 100);
        for line in [
            "SCAN x",
            "SCAN 16000",
            "CLUSTER SLOTS",
            "CLIENT TRACKING ON",
            "CLIENT REPLY OFF",
        ] {
            assert!(client.run(line).error().is_some(), "{line}");
        }
        let crossed = client.run("MGET a b");
        assert!(
            crossed
                .error()
                .is_some_and(|error| error.starts_with("CROSSSLOT"))
        );
        // A script that is loaded is everywhere.
        let loaded = client.call(&["SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])"]);
        let digest = loaded.text().expect("a digest").to_owned();
        for key in 0..10 {
            let reply = client.run(&format!("EVALSHA {digest} 1 key:{key}"));
            assert_eq!(reply.text(), Some((key + 1).to_string().as_str()));
        }
        for client in [&mut client, &mut server.client()] {
            client.hello3();
            client.run("HSET hash f v");
            assert!(matches!(client.run("HGETALL hash"), Reply::Map(_)));
            assert!(matches!(client.run("HGETALL another"), Reply::Map(_)));
        }
        let mut client = server.client();
        assert_eq!(client.run("FLUSHALL"), ok());
        assert_eq!(client.run("EXISTS key:1"), Reply::Int(0));
        assert_eq!(client.run("EXISTS key:2"), Reply::Int(0));
        assert_eq!(client.run("QUIT"), ok());
        assert_eq!(client.next(), None);
    });
}

#[test]
fn transactions_blocking_commands_and_channels_work() {
    on_each(|kind| {
        let nodes = nodes(kind, false);
        let server = before(&nodes).start();
        let (mut client, mut other) = (server.client(), server.client());
        define(&mut client, "count", COUNT);
        for key in ["a", "b", "c"] {
            let mut requests = encode(&["MULTI"]);
            requests.extend(encode(&["SET", key, "5"]));
            requests.extend(encode(&["INCR", key]));
            requests.extend(encode(&["EXEC"]));
            requests.extend(encode(&["GET", "other"]));
            client.send(&requests);
            assert_eq!(client.reply(), ok());
            assert_eq!(client.reply(), Reply::Simple("QUEUED".to_owned()));
            assert_eq!(client.reply(), Reply::Simple("QUEUED".to_owned()));
            assert_eq!(
                client.reply(),
                Reply::Array(vec![ok(), Reply::Int(6)]),
                "{kind:?}"
            );
            assert_eq!(client.reply(), Reply::Null);
            // It changes while it is watched.
            assert_eq!(client.run(&format!("WATCH {key}")), ok());
            assert_eq!(client.run("GET other"), Reply::Null);
            other.run(&format!("WASM.CALL count KEYS {key}"));
            client.run("MULTI");
            client.run(&format!("SET {key} 0"));
            assert_eq!(client.run("EXEC"), Reply::Null, "{kind:?}");
            assert_eq!(client.run(&format!("GET {key}")).text(), Some("7"));
        }
        // Keys of several nodes are none for one transaction.
        let refused = |reply: &Reply, code: &str| {
            assert!(
                reply.error().is_some_and(|error| error.starts_with(code)),
                "{reply:?}"
            );
        };
        client.run("MULTI");
        client.run("SET a 1");
        refused(&client.run("SET b 1"), "CROSSSLOT");
        refused(&client.run("EXEC"), "EXECABORT");
        assert_eq!(client.run("WATCH a"), ok());
        refused(&client.run("WATCH b"), "CROSSSLOT");
        assert_eq!(client.run("UNWATCH"), ok());
        client.run("MULTI");
        client.run("SET a 1");
        refused(&client.run("WASM.CALL count KEYS a"), "ERR");
        refused(&client.run("EXEC"), "EXECABORT");
        client.run("MULTI");
        assert_eq!(client.run("DISCARD"), ok());
        assert_eq!(client.run("GET a").text(), Some("7"));

        for key in ["x", "y", "z"] {
            client.send(&encode(&["BLPOP", key, "0"]));
            other.run(&format!("RPUSH {key} v"));
            let popped = client.reply();
            assert_eq!(
                popped.elements().map(|both| both[1].text()),
                Some(Some("v"))
            );
        }
        client.run("SUBSCRIBE one");
        let publish = ["PUBLISH", "one", "hello"];
        other.call(&publish);
        let message = client.reply();
        assert_eq!(
            message.elements().map(|parts| parts[2].text()),
            Some(Some("hello"))
        );
        client.run("UNSUBSCRIBE one");
        assert_eq!(client.run("GET b").text(), Some("7"));
        // In RESP3, messages come between the replies of any node.
        client.hello3();
        client.send(&encode(&["SUBSCRIBE", "one"]));
        let confirmed = client.reply();
        assert!(matches!(confirmed, Reply::Push(_)), "{confirmed:?}");
        other.call(&publish);
        let mut pushes = 0;
        let mut receive = |client: &mut Client, line: &str| {
            client.send(&encode(&line.split(' ').collect::<Vec<_>>()));
            loop {
                match client.reply() {
                    Reply::Push(_) => pushes += 1,
                    reply => return reply,
                }
            }
        };
        for key in ["a", "b", "c"].iter().cycle().take(30) {
            let reply = receive(&mut client, &format!("GET {key}"));
            assert_eq!(reply.text(), Some("7"));
        }
        while pushes == 0 {
            let _ = client.reply();
            pushes += 1;
        }
        assert_eq!(pushes, 1);
        // However long the names are of what is listened to, nothing of them is kept.
        for number in 0..4 {
            let long = format!("{number}").repeat(700_000);
            client.send(&encode(&["SUBSCRIBE", &long]));
            let confirmed = client.reply();
            assert!(matches!(confirmed, Reply::Push(_)));
            assert_eq!(client.run("GET a").text(), Some("7"));
        }
    });
}

#[test]
fn clients_are_known_on_every_node() {
    on_each(|kind| {
        let nodes = nodes(kind, false);
        for node in &nodes {
            let mut direct = node.client();
            direct.run("ACL SETUSER alice on >wonder ~* &* +@all");
            direct.run("ACL SETUSER reader on >glasses ~* &* +@all -@write");
            direct.run("CONFIG SET requirepass secret");
        }
        let server = before(&nodes).start();
        let mut client = server.client();
        for line in ["GET a", "WASM.CALL count KEYS a", "DBSIZE", "SCAN 0"] {
            let reply = client.run(line);
            let error = reply.error().unwrap_or_default();
            assert!(error.starts_with("NOAUTH"), "{kind:?}: {line}: {reply:?}");
        }
        assert_eq!(client.run("AUTH alice wonder"), ok());
        define(&mut client, "count", COUNT);
        let works = |client: &mut Client| {
            for key in ["a", "b", "c"] {
                assert_eq!(client.run(&format!("SET {key} 1")), ok());
                let call = format!("WASM.CALL count KEYS {key}");
                assert_eq!(client.run(&call), Reply::Int(2), "{kind:?}");
                assert_eq!(client.run(&format!("GET {key}")).text(), Some("2"));
            }
        };
        works(&mut client);
        // Another user has its own rights on all of them at once.
        assert_eq!(client.run("AUTH reader glasses"), ok());
        for key in ["a", "b", "c"] {
            assert_eq!(client.run(&format!("GET {key}")).text(), Some("2"));
            for line in [
                format!("SET {key} 3"),
                format!("WASM.CALL count KEYS {key}"),
            ] {
                let reply = client.run(&line);
                let error = reply.error().unwrap_or_default();
                assert!(error.starts_with("NOPERM"), "{kind:?}: {line}: {reply:?}");
            }
        }
        assert_eq!(client.run("RESET"), Reply::Simple("RESET".to_owned()));
        let reply = client.run("GET b");
        assert!(
            reply
                .error()
                .is_some_and(|error| error.starts_with("NOAUTH"))
        );

        let url = format!("redis+cluster://:secret@{}", nodes[0].address());
        let server = Server::builder()
            .arguments(&["--upstream", &url, "--upstream-share-account", "true"])
            .start();
        let mut client = server.client();
        until(&mut client, &["WASM.CALL", "count", "KEYS", "x"], |reply| {
            reply.int().is_some()
        });
        works(&mut client);
        assert_eq!(client.run("DBSIZE").error(), None);
    });
}
