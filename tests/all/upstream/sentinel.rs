//! Sentinels that name the primary, and name another one when it fails.

use ferrite_tests::{Engine, EngineBuilder, EngineKind, Reply, Server, ServerBuilder};

use super::{COUNT, define, on_each};
use crate::engines::{info, until};

/// A primary, its replica, and a Sentinel.
pub(super) fn group(kind: EngineKind) -> (Engine, Engine, Engine) {
    let server = || {
        let builder = kind.builder().unmodified();
        builder.arguments(&["--repl-diskless-sync-delay", "0"])
    };
    let primary = server().start();
    let port = primary.port().to_string();
    let replica = server().arguments(&["--replicaof", &format!("127.0.0.1 {port}")]);
    let sentinel = kind.builder().sentinel_of("the-primary", primary.port());
    let (replica, sentinel) = group_of(replica, sentinel);
    (primary, replica, sentinel)
}

/// Starts a replica and a Sentinel, and waits until both know their primary.
pub(super) fn group_of(replica: EngineBuilder, sentinel: EngineBuilder) -> (Engine, Engine) {
    let replica = replica.start();
    while info(&mut replica.client(), "replication", "master_link_status") != "up" {}
    let sentinel = sentinel.start();
    // It learns of the replica from the primary.
    until(
        &mut sentinel.client(),
        &["SENTINEL", "REPLICAS", "the-primary"],
        |reply| reply.elements().is_some_and(|replicas| replicas.len() == 1),
    );
    (replica, sentinel)
}

/// Waits until the replica has everything. Writes a key, because a client waits for its own writes.
pub(super) fn replicated(primary: &Engine, key: &str) {
    let mut client = primary.client();
    until(&mut client, &["SET", key, "x"], |reply| {
        reply.error().is_none()
    });
    until(&mut client, &["WAIT", "1", "1000"], |reply| {
        *reply == Reply::Int(1)
    });
}

pub(super) fn before(sentinel: &Engine, name: &str) -> ServerBuilder {
    // The first one is down.
    let url = format!("redis+sentinel://127.0.0.1:1,{}/{name}", sentinel.address());
    Server::builder().arguments(&["--upstream", &url])
}

#[test]
fn a_failover_is_followed() {
    on_each(|kind| {
        let (mut primary, replica, sentinel) = group(kind);
        let server = before(&sentinel, "the-primary").start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        for expected in 1..10 {
            assert_eq!(client.run("WASM.CALL count KEYS k"), Reply::Int(expected));
        }
        assert_eq!(client.run("GET k").text(), Some("9"));
        replicated(&primary, "last");
        primary.kill();
        // Calls wait for the new primary, and so does a client that connects anew.
        let reply = loop {
            let mut client = server.client();
            client.send(&ferrite_tests::encode(&["WASM.CALL", "count", "KEYS", "k"]));
            match client.next() {
                Some(reply) if reply.error().is_none() => break reply,
                _ => {}
            }
        };
        assert_eq!(reply, Reply::Int(10), "{kind:?}");
        assert_eq!(replica.client().run("GET k").text(), Some("10"));
        let mut client = server.client();
        assert_eq!(client.run("GET k").text(), Some("10"));
        assert_eq!(client.run("SET k 1"), Reply::Simple("OK".to_owned()));
    });
}

#[test]
fn a_primary_that_becomes_a_replica_is_left() {
    // A Sentinel lets a failover be asked for only once it has looked at the replica for a while.
    if let Some(kind) = EngineKind::unmodified_here().first().copied() {
        let (_primary, replica, sentinel) = group(kind);
        let server = before(&sentinel, "the-primary").start();
        define(&mut server.client(), "count", COUNT);
        let done = std::sync::atomic::AtomicBool::new(false);
        let counted = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = server.client();
                        let mut counted = 0_i64;
                        while !done.load(std::sync::atomic::Ordering::SeqCst) {
                            let call = ["WASM.CALL", "count", "KEYS", "k"];
                            let bytes = ferrite_tests::encode(&call);
                            let reply = match client.try_send(&bytes) {
                                Ok(()) => client.next(),
                                Err(_) => None,
                            };
                            match reply {
                                Some(Reply::Int(_)) => counted += 1,
                                Some(_) => {}
                                None => client = server.client(),
                            }
                        }
                        counted
                    })
                })
                .collect();
            let mut direct = sentinel.client();
            until(
                &mut direct,
                &["SENTINEL", "FAILOVER", "the-primary"],
                |reply| reply.error().is_none(),
            );
            // It closes its connections when its role changes.
            let ask = |line: &str| {
                let mut client = replica.client();
                let words: Vec<&str> = line.split(' ').collect();
                client.send(&ferrite_tests::encode(&words));
                client.next()
            };
            let is_primary =
                |reply: Reply| reply.elements().and_then(|parts| parts[0].text()) == Some("master");
            while !ask("ROLE").is_some_and(is_primary) {
                std::thread::yield_now();
            }
            // Calls reach the new primary while they go on.
            let count = || {
                let reply = ask("GET k").unwrap_or(Reply::Null);
                let number = reply.text().and_then(|text| text.parse::<i64>().ok());
                number.unwrap_or(0)
            };
            let first = count();
            while count() < first + 20 {
                std::thread::yield_now();
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            let counts = callers
                .into_iter()
                .map(|one| one.join().expect("no failure"));
            counts.sum::<i64>()
        });
        assert!(counted > 20, "{kind:?}: {counted}");
    }
}

#[test]
fn an_unknown_name_is_said_to_be() {
    on_each(|kind| {
        let (_primary, _replica, sentinel) = group(kind);
        let server = before(&sentinel, "another").start();
        for line in ["GET k", "WASM.CALL count KEYS k"] {
            let reply = server.client().run(line);
            let error = reply.error().unwrap_or_default();
            assert!(
                error.starts_with("STORE")
                    && error.contains("knows no primary of the name \"another\""),
                "{reply:?}"
            );
        }
    });
}
