//! Long calls let the engine serve others, and still take effect at once or not at all.

use std::thread;

use ferrite_tests::{EngineKind, Reply, encode};

use super::{LONG, OPS, TRAPS, define, until};

#[test]
fn an_endless_call_holds_up_nobody_and_leaves_nothing() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&LONG).start();
        let mut client = engine.client();
        define(&mut client, "ops", OPS);
        define(&mut client, "traps", TRAPS);
        let mut other = engine.client();
        other.run("RPUSH l a");
        let push = "*2\r\n$1\r\nl\r\n$1\r\nb\r\n";
        let endless = [
            "WASM.CALL",
            "ops.endless",
            "KEYS",
            "k",
            "ARGS",
            "RPUSH",
            push,
        ];

        // Ended by its time limit, by a kill, and by its client's disconnection.
        let timed: Vec<&str> = [&endless[..2], &["TIMEOUT", "100"], &endless[2..]].concat();
        let reply = client.call(&timed);
        assert!(
            reply
                .error()
                .is_some_and(|error| error.starts_with("TIMEOUT")),
            "{kind:?}: {reply:?}"
        );
        client.send(&encode(&endless));
        until(&mut other, &["WASM.KILL", "ops"], |reply| {
            reply.int() == Some(1)
        });
        let reply = client.reply();
        assert!(
            reply
                .error()
                .is_some_and(|error| error.starts_with("KILLED")),
            "{kind:?}: {reply:?}"
        );
        let running = |reply: &Reply, count: usize| {
            reply
                .at("running_calls")
                .and_then(Reply::elements)
                .is_some_and(|calls| calls.len() == count)
        };
        let mut gone = engine.client();
        gone.send(&encode(&endless));
        until(&mut other, &["WASM.INFO", "ops"], |reply| running(reply, 1));
        // Other clients are served meanwhile, and see none of its writes.
        assert_eq!(other.run("PING"), Reply::Simple("PONG".into()));
        assert_eq!(other.run("LLEN l"), Reply::Int(1));
        assert_eq!(other.run("EXISTS k"), Reply::Int(0));
        drop(gone);
        until(&mut other, &["WASM.INFO", "ops"], |reply| running(reply, 0));
        assert_eq!(other.run("LLEN l"), Reply::Int(1), "{kind:?}");
        assert_eq!(other.run("EXISTS k"), Reply::Int(0), "{kind:?}");
    }
}

#[test]
fn no_increment_is_lost_between_long_calls_and_commands() {
    const CLIENTS: usize = 4;
    const CALLS: usize = 10;
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&LONG).start();
        define(&mut engine.client(), "ops", OPS);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut client = engine.client();
                    for _ in 0..CALLS {
                        let reply = client.run("WASM.CALL ops.slow_incr KEYS counter");
                        assert!(reply.int().is_some(), "{kind:?}: {reply:?}");
                        assert!(client.run("INCR counter").int().is_some());
                    }
                });
            }
        });
        let expected = i64::try_from(2 * CLIENTS * CALLS).expect("a small number");
        let counter = engine.client().run("INCRBY counter 0");
        assert_eq!(counter, Reply::Int(expected), "{kind:?}");
    }
}

#[test]
fn a_command_of_a_long_call_is_undone_meanwhile_and_done_at_its_end() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&LONG).start();
        let mut client = engine.client();
        define(&mut client, "ops", OPS);
        let mut other = engine.client();
        let push = "*3\r\n$1\r\nl\r\n$1\r\na\r\n$1\r\nb\r\n";
        let long = [
            "WASM.CALL",
            "ops.slow_any",
            "KEYS",
            "l",
            "ARGS",
            "RPUSH",
            push,
        ];
        client.send(&encode(&long));
        // Others see all of it or nothing.
        until(&mut other, &["LLEN", "l"], |reply| {
            assert!(matches!(reply.int(), Some(0 | 2)), "{kind:?}: {reply:?}");
            reply.int() == Some(2)
        });
        let reply = client.reply();
        let expected = Reply::Array(vec![Reply::Bulk(b":2\r\n".to_vec()), Reply::Int(1)]);
        assert_eq!(reply, expected, "{kind:?}");
        assert_eq!(other.run("LLEN l"), Reply::Int(2), "{kind:?}");
    }
}

#[test]
fn a_call_in_the_background_is_fetched_later() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&LONG).start();
        let mut client = engine.client();
        define(&mut client, "ops", OPS);
        client.run("SET counter 5");
        let id = client.run("WASM.CALLASYNC ops.slow_incr KEYS counter");
        let id = id.text().expect("an id").to_owned();
        let result = client.call(&["WASM.RESULT", &id, "BLOCK", "30000"]);
        assert_eq!(result, Reply::Int(6), "{kind:?}");
        assert_eq!(client.run("GET counter"), Reply::Bulk(b"6".to_vec()));
        let profile = client.run("WASM.PROFILE ops.incr KEYS counter");
        assert!(profile.at("reply").is_some(), "{kind:?}: {profile:?}");
        assert_eq!(client.run("GET counter"), Reply::Bulk(b"6".to_vec()));
    }
}
