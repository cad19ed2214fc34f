//! A function never harms the engine that runs it.

use ferrite_tests::{EngineKind, Reply};

use super::{LONG, TRAPS, define, info, until};
use crate::support::guests::ADD1;

/// Every entry that traps, with the code of its error.
const TRAPPING: [(&[&str], &str); 4] = [
    (&["WASM.CALL", "traps.memory_"], "TRAP"),
    (&["WASM.CALL", "traps.division", "ARGS", "0"], "TRAP"),
    (&["WASM.CALL", "traps.unreachable"], "TRAP"),
    (&["WASM.CALL", "traps.deep"], "STACK"),
];

#[test]
fn traps_are_errors_whatever_the_engine_does_with_signals() {
    for kind in EngineKind::here() {
        // `offloaded` runs off the main thread, `traps` on it.
        let engine = kind.builder().module(&["offload", "offloaded"]).start();
        let mut client = engine.client();
        define(&mut client, "traps", TRAPS);
        define(&mut client, "offloaded", TRAPS);
        let mut all_trap = |when: &str| {
            for (words, code) in TRAPPING {
                for name in ["traps", "offloaded"] {
                    let entry = words[1].replace("traps", name);
                    let mut words = words.to_vec();
                    words[1] = &entry;
                    let reply = client.call(&words);
                    assert!(
                        reply.error().is_some_and(|error| error.starts_with(code)),
                        "{kind:?} {when}: {words:?} {reply:?}"
                    );
                }
            }
        };
        all_trap("at first");
        let mut admin = engine.client();
        for (name, value) in [
            ("crash-log-enabled", "no"),
            ("crash-log-enabled", "yes"),
            ("crash-log-enabled", "no"),
            ("crash-log-enabled", "yes"),
            ("watchdog-period", "200"),
        ] {
            let reply = admin.call(&["CONFIG", "SET", name, value]);
            assert_eq!(reply, Reply::Simple("OK".into()), "{kind:?} {name} {value}");
            all_trap(&format!("after {name} {value}"));
        }
        assert!(admin.call(&["BGSAVE"]).error().is_none());
        all_trap("while the data is saved");
        until(&mut admin, &["LASTSAVE"], |_| true);
        while info(&mut admin, "persistence", "rdb_bgsave_in_progress") == "1" {
            all_trap("while the data is saved");
        }
        assert_eq!(
            info(&mut admin, "persistence", "rdb_last_bgsave_status"),
            "ok"
        );
        assert_eq!(admin.run("PING"), Reply::Simple("PONG".into()));
    }
}

#[test]
fn a_wrong_argument_keeps_the_module_out_and_says_why() {
    for kind in EngineKind::here() {
        for (arguments, reason) in [
            (["chache-dir", "x"], "did you mean 'cache-dir'?"),
            (["max-time", "soon"], "'soon' of the argument 'max-time'"),
            (["threads", "0"], "at least 1"),
            (["cache-dir", "/proc/none"], "/proc/none"),
        ] {
            let log = kind
                .builder()
                .module(&arguments)
                .try_start()
                .expect_err("the engine refuses to start without its module");
            assert!(log.contains(reason), "{kind:?} {arguments:?}:\n{log}");
        }
    }
}

#[test]
fn the_module_stays() {
    for kind in EngineKind::here() {
        let engine = kind.start();
        let mut client = engine.client();
        define(&mut client, "add1", ADD1);
        let reply = client.run("MODULE UNLOAD ferrite");
        assert!(
            reply
                .error()
                .is_some_and(|error| error.contains("data types")),
            "{kind:?}: {reply:?}"
        );
        assert_eq!(client.run("WASM.CALL add1 ARGS 1"), Reply::Int(2));
    }
}

#[test]
fn inside_a_transaction_or_a_script_a_call_is_short_or_ended() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&LONG).start();
        let mut client = engine.client();
        define(&mut client, "add1", ADD1);
        define(&mut client, "traps", TRAPS);
        client.run("MULTI");
        client.run("WASM.CALL add1 ARGS 1");
        client.run("WASM.CALL traps.unreachable");
        client.run("WASM.UNLOAD add1");
        let replies = client.run("EXEC");
        let replies = replies.elements().expect("an array");
        assert_eq!(replies[0], Reply::Int(2), "{kind:?}");
        assert!(
            replies[1]
                .error()
                .is_some_and(|error| error.starts_with("TRAP"))
        );
        assert!(
            replies[2]
                .error()
                .is_some_and(|error| error.contains("transaction"))
        );
        let script = "return redis.call('WASM.CALL', 'add1', 'ARGS', ARGV[1])";
        assert_eq!(
            client.call(&["EVAL", script, "0", "4"]),
            Reply::Int(5),
            "{kind:?}"
        );
        // No other client is served meanwhile, so its time is short whatever its limits are.
        client.run("MULTI");
        client.run("WASM.CALL traps.endless TIMEOUT 3600000");
        let replies = client.run("EXEC");
        let replies = replies.elements().expect("an array");
        assert!(
            replies[0]
                .error()
                .is_some_and(|error| error.starts_with("TIMEOUT")),
            "{kind:?}: {replies:?}"
        );
        let script = "return redis.pcall('WASM.CALL', 'traps.endless')";
        let reply = client.call(&["EVAL", script, "0"]);
        assert!(
            reply.error().is_some_and(|error| error.contains("TIMEOUT")),
            "{kind:?}: {reply:?}"
        );
        assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
    }
}
