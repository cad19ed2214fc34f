//! Writes of functions reach replicas in order, and the caller's permissions apply.

use ferrite_tests::{EngineKind, Reply, encode};

use super::{LONG, OPS, define, info, until};

#[test]
fn replicas_hold_the_same_data_whether_calls_succeed_or_fail() {
    for kind in EngineKind::here() {
        let arguments = ["--repl-diskless-sync-delay", "0"];
        let primary = kind.builder().module(&LONG).arguments(&arguments).start();
        let replica = kind.builder().module(&LONG).arguments(&arguments).start();
        let mut client = primary.client();
        let mut second = replica.client();
        define(&mut client, "ops", OPS);
        let port = primary.port().to_string();
        second.call(&["REPLICAOF", "127.0.0.1", &port]);
        until(&mut second, &["PING"], |_| true);
        while info(&mut client, "replication", "slave0")
            .find("state=online")
            .is_none()
        {}
        let push = "*2\r\n$1\r\nl\r\n$1\r\na\r\n";
        let xadd = "*4\r\n$1\r\nx\r\n$1\r\n*\r\n$1\r\nf\r\n$1\r\nv\r\n";
        let spop = "*1\r\n$3\r\nset\r\n";
        client.run("SADD set 1 2 3 4 5 6 7 8 9");
        for words in [
            &["WASM.CALL", "ops.string", "KEYS", "s", "ARGS", "v"][..],
            &["WASM.CALL", "ops.string_trap", "KEYS", "t", "ARGS", "v"],
            &["WASM.CALL", "ops.hash", "KEYS", "h", "ARGS", "f", "v"],
            &["WASM.CALL", "ops.hash_trap", "KEYS", "h", "ARGS", "f", "w"],
            &["WASM.CALL", "ops.set_px", "KEYS", "p", "ARGS", "v"],
            &["WASM.CALL", "ops.any", "KEYS", "l", "ARGS", "RPUSH", push],
            &["WASM.CALL", "ops.any", "KEYS", "set", "ARGS", "SPOP", spop],
            &[
                "WASM.CALL",
                "ops.slow_any",
                "KEYS",
                "x",
                "ARGS",
                "XADD",
                xadd,
            ],
            &["WASM.CALL", "ops.slow_incr", "KEYS", "n"],
            &[
                "WASM.CALL",
                "ops.endless",
                "TIMEOUT",
                "50",
                "KEYS",
                "e",
                "ARGS",
                "RPUSH",
                push,
            ],
        ] {
            let failed = client.call(words).error().is_some();
            let should_fail = words[1].ends_with("_trap") || words[1].ends_with("endless");
            assert_eq!(failed, should_fail, "{kind:?} {words:?}");
        }
        assert_eq!(client.run("EXISTS t e"), Reply::Int(0), "{kind:?}");
        assert_eq!(client.run("LLEN l"), Reply::Int(1), "{kind:?}");
        let waited = client.run("WAIT 1 30000");
        assert_eq!(waited, Reply::Int(1), "{kind:?}");
        let digest = client.run("DEBUG DIGEST");
        assert_eq!(second.run("DEBUG DIGEST"), digest, "{kind:?}");
    }
}

#[test]
fn the_permissions_of_the_caller_hold_within_a_call() {
    for kind in EngineKind::here() {
        let engine = kind
            .builder()
            .module(&LONG)
            .module(&["offload", "beside"])
            .start();
        let mut admin = engine.client();
        define(&mut admin, "ops", OPS);
        define(&mut admin, "beside", OPS);
        admin.run("SET other:1 secret");
        let user = [
            "ACL",
            "SETUSER",
            "ann",
            "on",
            ">pw",
            "~ann:*",
            "+wasm.call",
            "+get",
            "+set",
        ];
        assert_eq!(admin.call(&user), Reply::Simple("OK".into()));
        let mut client = engine.client();
        assert_eq!(client.run("AUTH ann pw"), Reply::Simple("OK".into()));
        for name in ["ops", "beside"] {
            let call = |entry: &str| format!("WASM.CALL {name}.{entry}");
            let reply = client.run(&format!("{} KEYS other:1", call("get")));
            assert!(
                reply
                    .error()
                    .is_some_and(|error| error.starts_with("NOPERM")),
                "{kind:?}: {reply:?}"
            );
            let reply = client.run(&format!("{} KEYS ann:1 ARGS mine", call("set")));
            assert_eq!(reply, Reply::Int(0), "{kind:?}");
            let entry = call("any");
            let entry = entry.split(' ').nth(1).expect("two words");
            for (command, words, allowed) in [
                ("GET", "*1\r\n$5\r\nann:1\r\n", true),
                ("GET", "*1\r\n$7\r\nother:1\r\n", false),
                ("SET", "*2\r\n$7\r\nother:1\r\n$1\r\nx\r\n", false),
                ("STRLEN", "*1\r\n$5\r\nann:1\r\n", false),
            ] {
                let reply = client.call(&["WASM.CALL", entry, "ARGS", command, words]);
                let text = reply.text().unwrap_or_default();
                // Redis 7.0 has a different error text.
                let refused =
                    text.starts_with("-NOPERM") || text.starts_with("-ERR acl verification");
                assert_eq!(!refused, allowed, "{kind:?} {name} {command}: {reply:?}");
            }
            let reply = client.run("WASM.UNLOAD ops");
            assert!(
                reply
                    .error()
                    .is_some_and(|error| error.starts_with("NOPERM"))
            );
        }
        assert_eq!(admin.run("GET other:1"), Reply::Bulk(b"secret".to_vec()));
    }
}

#[test]
fn what_cannot_be_undone_is_refused() {
    for kind in EngineKind::here() {
        let engine = kind.start();
        let mut client = engine.client();
        define(&mut client, "ops", OPS);
        client.run("SET k v");
        for (command, words) in [
            ("FLUSHALL", "*0\r\n"),
            ("SWAPDB", "*2\r\n$1\r\n0\r\n$1\r\n1\r\n"),
            ("MOVE", "*2\r\n$1\r\nk\r\n$1\r\n1\r\n"),
            ("PUBLISH", "*2\r\n$1\r\nc\r\n$1\r\nm\r\n"),
            ("CONFIG", "*2\r\n$3\r\nGET\r\n$1\r\n*\r\n"),
            ("EVAL", "*2\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n"),
            ("WASM.CALL", "*1\r\n$3\r\nops\r\n"),
        ] {
            let reply = client.call(&["WASM.CALL", "ops.any", "ARGS", command, words]);
            let text = reply.text().unwrap_or_default();
            assert!(text.starts_with("-ERR"), "{kind:?} {command}: {reply:?}");
        }
        assert_eq!(client.run("GET k"), Reply::Bulk(b"v".to_vec()), "{kind:?}");
    }
}

#[test]
fn what_added_to_a_counter_is_taken_away_when_the_call_fails() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&LONG).start();
        let mut client = engine.client();
        define(&mut client, "ops", OPS);
        define(&mut client, "twice", include_str!("twice.wat"));
        for setup in [
            "HSET h n 5 text x",
            "PEXPIRE h 1000000",
            "SET c 7 PX 1000000",
            "RPUSH list a",
            "SET text x",
        ] {
            client.run(setup);
        }
        let before = client.run("DEBUG DIGEST");
        for (command, reply) in [
            ("HINCRBY h n 3", Some(8)),
            ("HINCRBY h n -9223372036854775808", Some(i64::MIN + 5)),
            ("HINCRBY h new 3", Some(3)),
            ("HINCRBY none f 1", Some(1)),
            ("HINCRBY h text 1", None),
            ("HINCRBY c f 1", None),
            ("INCR c", Some(8)),
            ("INCRBY c -4", Some(3)),
            ("DECRBY c 9", Some(-2)),
            ("DECR none", Some(-1)),
            ("INCR text", None),
            ("INCRBY list 1", None),
            ("APPEND c 1", Some(2)),
            ("RPUSH list b", Some(2)),
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            let rest = String::from_utf8(encode(&words[1..])).expect("text");
            let call = |entry: &str| {
                let words = [
                    "WASM.CALL",
                    entry,
                    "KEYS",
                    words[1],
                    "ARGS",
                    words[0],
                    &rest,
                ];
                words.map(str::to_owned)
            };
            let failed = client.call(&call("twice"));
            assert!(failed.error().is_some(), "{kind:?} {command}: {failed:?}");
            assert_eq!(client.run("DEBUG DIGEST"), before, "{kind:?} {command}");
            // Off the main thread, the write is applied and undone at each access.
            let mut endless = call("ops.endless").to_vec();
            endless[3] = "other".to_owned();
            endless.splice(2..2, ["TIMEOUT".to_owned(), "20".to_owned()]);
            let failed = client.call(&endless);
            assert!(failed.error().is_some(), "{kind:?} {command}: {failed:?}");
            assert_eq!(client.run("DEBUG DIGEST"), before, "{kind:?} {command}");
            if let Some(number) = reply {
                let done = client.call(&call("ops.any"));
                let expected = Reply::Bulk(format!(":{number}\r\n").into_bytes());
                assert_eq!(done, expected, "{kind:?} {command}");
                for restore in [
                    "DEL none list c",
                    "HDEL h new",
                    "HSET h n 5",
                    "SET c 7 PX 1000000",
                    "RPUSH list a",
                ] {
                    client.run(restore);
                }
            }
        }
    }
}

#[test]
fn a_full_server_takes_no_writes_of_functions() {
    for kind in EngineKind::here() {
        let engine = kind.start();
        let mut client = engine.client();
        define(&mut client, "ops", OPS);
        client.run("SET k v");
        client.run("CONFIG SET maxmemory 1");
        let reply = client.run("WASM.CALL ops.set KEYS k ARGS w");
        assert_eq!(reply, Reply::Int(-21), "{kind:?}: the store's status");
        assert_eq!(
            client.run("WASM.CALL ops.get KEYS k"),
            Reply::Bulk(b"v".to_vec())
        );
        client.run("CONFIG SET maxmemory 0");
        assert_eq!(client.run("WASM.CALL ops.set KEYS k ARGS w"), Reply::Int(0));
    }
}
