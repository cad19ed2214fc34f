//! A cluster behind the server: keys on several nodes, slots that move, and a primary that fails.

mod changing;
mod commands;
mod moving;
mod serial;

use ferrite_tests::{Engine, EngineKind, Reply, Server, ServerBuilder};

use super::sentinel::replicated;
use super::{COUNT, define, on_each};
use crate::engines::cluster::{join, routed};
use crate::engines::until;
use moving::migrate;

pub(super) const PRIMARIES: usize = 3;

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

pub(crate) fn nodes(kind: EngineKind, replicas: bool) -> Vec<Engine> {
    // Long enough that no replica takes over from a primary that is only slow, on a loaded machine.
    let (count, timeout) = match replicas {
        true => (2 * PRIMARIES, "2500"),
        false => (PRIMARIES, "10000"),
    };
    let start = |_| {
        let builder = kind.builder().unmodified();
        builder
            .arguments(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                timeout,
            ])
            .arguments(&["--repl-diskless-sync-delay", "0", "--appendonly", "yes"])
            .arguments(&["--appendfsync", "no"])
            .start()
    };
    let nodes: Vec<Engine> = (0..count).map(start).collect();
    join(&nodes);
    nodes
}

/// Prepares a server in front of a cluster, of which it is told the first two nodes.
pub(super) fn before(nodes: &[Engine]) -> ServerBuilder {
    let (first, second) = (nodes[0].address(), nodes[1].address());
    let url = format!("redis+cluster://{first},{second}");
    Server::builder().arguments(&["--upstream", &url])
}

/// Returns the number at a key, from the node that has it.
pub(super) fn number(nodes: &[Engine], key: &str) -> i64 {
    let reply = routed(nodes, &["GET", key]);
    let text = reply.as_ref().and_then(Reply::text).unwrap_or("0");
    text.parse().expect("a number")
}

pub(super) fn owner(nodes: &[Engine], key: &str) -> usize {
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
