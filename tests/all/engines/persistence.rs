//! Functions survive restarts, and reach replicas with the data.

use ferrite_tests::{Engine, EngineKind, Reply};

use super::{OPS, define, info, names, until};
use crate::support::guests::{ADD1, COUNT};

fn calls(engine: &Engine) {
    let mut client = engine.client();
    assert_eq!(client.run("WASM.CALL add1 ARGS 1"), Reply::Int(2));
    let info = client.run("WASM.INFO add1");
    let permissions = info.at("permissions").and_then(Reply::text);
    assert!(
        permissions.is_some_and(|text| text.contains(r#""allow_write":true"#)),
        "{info:?}"
    );
}

#[test]
fn functions_outlive_a_reload_a_restart_and_a_crash() {
    for kind in EngineKind::here() {
        for persistence in [&["--appendonly", "yes"][..], &["--save", "3600 1"]] {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let start = || {
                kind.builder()
                    .arguments(persistence)
                    .dir(dir.path())
                    .start()
            };
            let mut engine = start();
            let mut client = engine.client();
            define(&mut client, "add1", ADD1);
            assert_eq!(client.run("DEBUG RELOAD"), Reply::Simple("OK".into()));
            calls(&engine);
            define(&mut client, "gone", ADD1);
            client.run("WASM.UNLOAD gone");
            if persistence[0] == "--appendonly" {
                // One half comes from the rewritten file, the other from the commands after it.
                client.run("BGREWRITEAOF");
                while info(&mut client, "persistence", "aof_rewrite_in_progress") != "0"
                    || info(&mut client, "persistence", "aof_rewrite_scheduled") != "0"
                {
                }
                define(&mut client, "count", COUNT);
                assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
                client.run("DEBUG LOADAOF");
                calls(&engine);
            } else {
                define(&mut client, "count", COUNT);
                assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
                client.run("SAVE");
            }
            engine.kill();
            let engine = start();
            calls(&engine);
            let mut client = engine.client();
            assert_eq!(names(&mut client), ["add1", "count"], "{kind:?}");
            assert_eq!(
                client.run("WASM.CALL count KEYS n"),
                Reply::Int(2),
                "{kind:?}"
            );
        }
    }
}

#[test]
fn a_replica_has_what_its_primary_has_and_nothing_else() {
    for kind in EngineKind::here() {
        let arguments = ["--repl-diskless-sync-delay", "0"];
        let primary = kind.builder().arguments(&arguments).start();
        let replica = kind.builder().arguments(&arguments).start();
        let (mut client, mut second) = (primary.client(), replica.client());
        define(&mut second, "own", ADD1);
        let port = primary.port().to_string();
        second.call(&["REPLICAOF", "127.0.0.1", &port]);
        // Even an empty registry of the primary replaces the replica's.
        until(&mut second, &["WASM.LIST"], |list| {
            list.elements().is_some_and(<[_]>::is_empty)
        });
        define(&mut client, "add1", ADD1);
        define(&mut client, "ops", OPS);
        until(&mut second, &["WASM.LIST"], |list| {
            list.elements()
                .is_some_and(|functions| functions.len() == 2)
        });
        client.run("WASM.UNLOAD ops");
        until(&mut second, &["WASM.LIST"], |list| {
            list.elements()
                .is_some_and(|functions| functions.len() == 1)
        });
        // Only the digest arrived; the source was fetched from the primary, and is compiled here.
        second.run("REPLICAOF NO ONE");
        until(&mut second, &["WASM.CALL", "add1", "ARGS", "1"], |reply| {
            *reply == Reply::Int(2)
        });
        let there = replica.dir().join("ferrite-cache").is_dir();
        assert!(there && names(&mut second) == ["add1"], "{kind:?}");
    }
}

#[test]
fn a_function_without_its_code_says_what_is_missing() {
    for kind in EngineKind::here() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let start = || {
            let arguments = ["--appendonly", "yes"];
            let builder = kind.builder().arguments(&arguments);
            builder.module(&["fetch-from-peers", "no"]).dir(dir.path())
        };
        let mut engine = start().start();
        define(&mut engine.client(), "add1", ADD1);
        engine.kill();
        std::fs::remove_dir_all(dir.path().join("ferrite-cache")).expect("there was a cache");
        let engine = start().start();
        let mut client = engine.client();
        let reply = client.run("WASM.CALL add1 ARGS 1");
        assert!(
            reply
                .error()
                .is_some_and(|error| error.starts_with("NOARTIFACT blake3:")),
            "{kind:?}: {reply:?}"
        );
        assert_eq!(names(&mut client), ["add1"], "{kind:?}");
    }
}
