//! Values that calls keep for later calls, until the engine tells that they have changed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ferrite_tests::{Client, Engine, Reply, Server};

use super::scripts;
use crate::engines::until;
use crate::upstream::all_keys::metric;
use crate::upstream::concurrent::{MARK, call_on, check, last};
use crate::upstream::{COUNT, OPS, TALLY, before, define, engine, on_each};

/// Longest wait until the engine tells of a change.
const TOLD_TIME_MAX: Duration = Duration::from_secs(30);

/// Starts a server that keeps values of so many bytes.
fn keeping(engine: &Engine, bytes: &str) -> Server {
    before(engine)
        .arguments(&["--upstream-max-kept", bytes])
        .arguments(&["--metrics-address", "127.0.0.1:0"])
        .start()
}

fn hits(server: &Server) -> i64 {
    metric(server, "ferrite_upstream_kept_hits_total")
}

/// Runs `work`, and waits until the server has been told that something it keeps has changed.
fn told<R>(server: &Server, work: impl FnOnce() -> R) -> R {
    let invalidated = || metric(server, "ferrite_upstream_kept_invalidated_total");
    let before = invalidated();
    let done = work();
    let started = Instant::now();
    while invalidated() == before {
        assert!(started.elapsed() < TOLD_TIME_MAX, "nothing was told");
        std::thread::yield_now();
    }
    done
}

/// Runs a line, and returns its reply with the number of scripts that the engine has run for it.
fn counted(client: &mut Client, direct: &mut Client, line: &str) -> (Reply, u64) {
    let before = scripts(direct);
    let reply = client.run(line);
    (reply, scripts(direct) - before)
}

#[test]
fn a_call_on_kept_values_needs_one_request() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = keeping(&engine, "1MB");
        let (mut client, mut direct) = (server.client(), engine.client());
        for (name, source) in [("count", COUNT), ("tally", TALLY), ("ops", OPS)] {
            define(&mut client, name, source);
        }
        direct.run("HSET hash f v");
        for line in [
            "WASM.CALL count KEYS k",
            // A key that is not declared.
            "WASM.CALL tally",
            "WASM.CALL ops.get KEYS nothing",
            "WASM.CALL ops.hget KEYS hash ARGS f",
            "WASM.CALL ops.set KEYS text ARGS w",
        ] {
            // They load the function and the scripts, and leave values to keep.
            for _ in 0..2 {
                client.run(line);
            }
            let before = hits(&server);
            let (reply, needed) = counted(&mut client, &mut direct, line);
            assert_eq!(reply.error(), None);
            assert_eq!(needed, 1, "{kind:?}: {line}");
            assert!(hits(&server) > before, "{kind:?}: {line}");
        }
        assert_eq!(client.run("WASM.CALL count KEYS k"), Reply::Int(4));
        assert_eq!(direct.run("GET k").text(), Some("4"));
    });
}

#[test]
fn what_others_change_is_read_again() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = keeping(&engine, "1MB");
        let (mut client, mut direct) = (server.client(), engine.client());
        define(&mut client, "count", COUNT);
        let call = "WASM.CALL count KEYS k";
        let keep = |client: &mut Client| {
            for _ in 0..2 {
                client.run(call);
            }
        };
        for (change, expected) in [("SET k 10", 11), ("DEL k", 1), ("FLUSHALL", 1)] {
            keep(&mut client);
            // The first is read, and the other is written by a call.
            for _ in 0..2 {
                told(&server, || direct.run(change));
                let (reply, needed) = counted(&mut client, &mut direct, call);
                assert_eq!(reply, Reply::Int(expected), "{kind:?}: {change}");
                assert_eq!(needed, 2, "{kind:?}: {change}");
            }
        }
        // Another server's calls are others too.
        let other = keeping(&engine, "1MB");
        define(&mut other.client(), "count", COUNT);
        direct.run("SET k 0");
        for number in 0..20 {
            for (turn, server) in [&server, &other].into_iter().enumerate() {
                let expected = 2 * number + turn as i64 + 1;
                assert_eq!(server.client().run(call), Reply::Int(expected), "{kind:?}");
            }
        }
    });
}

#[test]
fn a_call_that_only_reads_sees_the_latest() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = keeping(&engine, "1MB");
        let (mut client, mut direct) = (server.client(), engine.client());
        define(&mut client, "ops", OPS);
        // What the engine tells may come later than the reply to the writer.
        for number in 0..200 {
            direct.run(&format!("SET k {number}"));
            for _ in 0..2 {
                let read = client.run("WASM.CALL ops.get KEYS k");
                assert_eq!(read.text(), Some(number.to_string().as_str()), "{kind:?}");
            }
        }
        assert!(hits(&server) > 100, "{kind:?}: {}", hits(&server));
    });
}

#[test]
fn nothing_is_kept_after_the_connection_broke() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = keeping(&engine, "1MB");
        let mut direct = engine.client();
        define(&mut server.client(), "count", COUNT);
        for _ in 0..3 {
            server.client().run("WASM.CALL count KEYS k");
        }
        told(&server, || direct.run("CLIENT KILL TYPE normal SKIPME yes"));
        assert_eq!(
            metric(&server, "ferrite_upstream_kept_bytes"),
            0,
            "{kind:?}"
        );
        direct.run("SET k 100");
        let call = ["WASM.CALL", "count", "KEYS", "k"];
        let reply = until(&mut server.client(), &call, |reply| reply.int().is_some());
        assert_eq!(reply, Reply::Int(101), "{kind:?}");
        let mut client = server.client();
        client.run("WASM.CALL count KEYS k");
        let (reply, needed) = counted(&mut client, &mut direct, "WASM.CALL count KEYS k");
        assert_eq!((reply, needed), (Reply::Int(103), 1), "{kind:?}");
    });
}

#[test]
fn no_more_is_kept_than_there_is_memory_for() {
    const BYTES_MAX: i64 = 64 * 1024;
    on_each(|kind| {
        let engine = engine(kind);
        let server = keeping(&engine, "64KB");
        let (mut client, mut direct) = (server.client(), engine.client());
        define(&mut client, "ops", OPS);
        let fill = "for i = 1, 200 do redis.call('SET', 'key:' .. i, string.rep('x', 1000)) end";
        direct.call(&["EVAL", fill, "0"]);
        for key in 1..=200 {
            let read = client.run(&format!("WASM.CALL ops.get KEYS key:{key}"));
            assert_eq!(read.text().map(str::len), Some(1000));
            let bytes = metric(&server, "ferrite_upstream_kept_bytes");
            assert!((1000..=BYTES_MAX).contains(&bytes), "{kind:?}: {bytes}");
        }
        let before = hits(&server);
        client.run("WASM.CALL ops.get KEYS key:200");
        assert_eq!(hits(&server) - before, 1, "{kind:?}");
        client.run("WASM.CALL ops.get KEYS key:1");
        assert_eq!(hits(&server) - before, 1, "{kind:?}");
    });
}

#[test]
fn a_kept_key_dies_at_its_time() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = keeping(&engine, "1MB");
        let (mut client, mut direct) = (server.client(), engine.client());
        define(&mut client, "ops", OPS);
        let call = "WASM.CALL ops.get KEYS k";
        client.run(call);
        direct.run("SET k x PX 2500");
        let mut was_kept = false;
        loop {
            let left = direct.run("PTTL k").int().expect("an integer");
            let before = hits(&server);
            let reply = client.run(call);
            let used = hits(&server) > before;
            was_kept |= used && left > 0;
            // Its end is near, so it is read anew; the server knows the engine's clock only about.
            assert!(!used || !(0..500).contains(&left), "{kind:?}: {left} ms");
            // It may die between the two.
            if direct.run("EXISTS k") == Reply::Int(0) {
                break;
            }
            assert_eq!(reply.text(), Some("x"), "{kind:?}");
        }
        assert!(was_kept, "{kind:?}");
        assert_eq!(client.run(call), Reply::Int(-1), "{kind:?}");
    });
}

#[test]
fn who_may_not_be_told_works_without_kept_values() {
    on_each(|kind| {
        let engine = engine(kind);
        let mut direct = engine.client();
        direct.run("ACL SETUSER untold on >pw ~* &* +@all -client|tracking");
        direct.run("ACL SETUSER plain on >pw ~* &* +@all -@scripting");
        direct.run("ACL SETUSER few on >pw ~few* ~ferrite:* &* +@all");
        let server = keeping(&engine, "1MB");
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        for user in ["untold", "plain"] {
            client.run(&format!("AUTH {user} pw"));
            for expected in 1..5 {
                let call = format!("WASM.CALL count KEYS {user}");
                let (reply, needed) = counted(&mut client, &mut direct, &call);
                assert_eq!(reply, Reply::Int(expected), "{kind:?}: {user}");
                if expected > 2 {
                    let of_user = if user == "untold" { 2 } else { 0 };
                    assert_eq!(needed, of_user, "{kind:?}: {user}");
                }
            }
        }
        // A right that is lost after the keys were read hides no commit.
        direct.run("ACL SETUSER typed on >pw ~* &* +@all");
        client.run("AUTH typed pw");
        let call = "WASM.CALL count KEYS typed";
        for expected in 1..3 {
            assert_eq!(client.run(call), Reply::Int(expected), "{kind:?}");
        }
        direct.run("ACL SETUSER typed -type");
        let (reply, needed) = counted(&mut client, &mut direct, call);
        assert_eq!((reply, needed), (Reply::Int(3), 1), "{kind:?}");
        assert_eq!(direct.run("GET typed").text(), Some("3"), "{kind:?}");
        // What is kept for one user is no other's.
        client.run("AUTH default nopass");
        client.run("WASM.CALL count KEYS k");
        client.run("AUTH few pw");
        for _ in 0..2 {
            assert_eq!(client.run("WASM.CALL count KEYS few").error(), None);
            let refused = client.run("WASM.CALL count KEYS k");
            let error = refused.error().unwrap_or_default();
            assert!(error.starts_with("NOPERM"), "{kind:?}: {refused:?}");
        }
    });
}

#[test]
fn calls_on_kept_values_have_a_serial_order() {
    const CALLS: usize = 400;
    on_each(|kind| {
        let engine = engine(kind);
        let servers = [keeping(&engine, "1MB"), keeping(&engine, "1MB")];
        for server in &servers {
            define(&mut server.client(), "mark", MARK);
        }
        let (clock, enough) = (AtomicUsize::new(1), AtomicBool::new(false));
        let history = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for seed in 0..4_u64 {
                let (clock, enough, history, servers) = (&clock, &enough, &history, &servers);
                scope.spawn(move || {
                    let server = &servers[seed as usize % servers.len()];
                    let connect = || Some(server.client());
                    call_on(&connect, "key:", seed, clock, enough, history);
                });
            }
            while history.lock().expect("no panic").len() < CALLS {
                std::thread::yield_now();
            }
            enough.store(true, Ordering::SeqCst);
        });
        check(&history.into_inner().expect("no panic"), &last(&engine));
        let used: i64 = servers.iter().map(hits).sum();
        assert!(used > 0, "{kind:?}");
    });
}

#[test]
fn nothing_is_kept_of_a_cluster() {
    let log = Server::builder()
        .arguments(&[
            "--upstream",
            "redis+cluster://h",
            "--upstream-max-kept",
            "1MB",
        ])
        .try_start()
        .expect_err("it is wrong");
    assert!(
        log.contains("upstream.max_kept does not work with a cluster"),
        "{log}"
    );
}
