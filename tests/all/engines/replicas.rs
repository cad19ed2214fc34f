//! Replies of a replica: read-only calls run, and calls that would write are refused.

use ferrite_tests::{Client, EngineKind, Reply};

use super::{LONG, OPS, define, until};

fn is_error(reply: &Reply, code: &str) -> bool {
    reply.error().is_some_and(|error| error.starts_with(code))
}

#[test]
fn a_replica_answers_calls_that_only_read() {
    for kind in EngineKind::ends_here() {
        let start = || {
            let builder = kind.builder().module(&LONG);
            let builder = builder.arguments(&["--repl-diskless-sync-delay", "0"]);
            builder.module(&["offload", "beside"]).start()
        };
        let (primary, replica) = (start(), start());
        let (mut client, mut second) = (primary.client(), replica.client());
        for name in ["ops", "beside"] {
            define(&mut client, name, OPS);
        }
        assert_eq!(client.run("SET k v"), Reply::Simple("OK".into()));
        let port = primary.port().to_string();
        second.call(&["REPLICAOF", "127.0.0.1", &port]);
        for name in ["ops", "beside"] {
            let entry = |entry: &str| format!("{name}.{entry}");
            // Its code comes from the primary.
            until(
                &mut second,
                &["WASM.CALL_RO", &entry("get"), "KEYS", "k"],
                |reply| *reply == Reply::Bulk(b"v".to_vec()),
            );
            // A write fails in the function, which gets the status and may reply anything.
            let reply = second.call(&["WASM.CALL_RO", &entry("set"), "KEYS", "k", "ARGS", "w"]);
            assert_eq!(reply, Reply::Int(-17), "{kind:?}");
            let set = "*2\r\n$1\r\nk\r\n$1\r\nw\r\n";
            let words = ["WASM.CALL_RO", &entry("any"), "KEYS", "k", "ARGS"];
            let reply = second.call(&[&words[..], &["SET", set]].concat());
            assert_eq!(reply, Reply::Int(-17), "{kind:?}");
            let reply = second.call(&[&words[..], &["GET", "*1\r\n$1\r\nk\r\n"]].concat());
            assert_eq!(reply, Reply::Bulk(b"$1\r\nv\r\n".to_vec()), "{kind:?}");
            // A call that may write does not even begin.
            let reply = second.call(&["WASM.CALL", &entry("get"), "KEYS", "k"]);
            assert!(is_error(&reply, "READONLY"), "{kind:?}: {reply:?}");
        }
        assert_eq!(second.run("GET k"), Reply::Bulk(b"v".to_vec()), "{kind:?}");
    }
}

fn as_user(mut client: Client) -> Client {
    assert_eq!(client.run("AUTH reader pw"), Reply::Simple("OK".into()));
    client
}

#[test]
fn commands_are_in_the_categories_of_access_control() {
    // Redis 7.0 has no categories for commands of modules.
    for kind in EngineKind::here()
        .into_iter()
        .filter(|kind| *kind != EngineKind::Redis)
    {
        let engine = kind.start();
        let mut client = engine.client();
        define(&mut client, "ops", OPS);
        for (category, inside, outside) in [
            ("read", "wasm.call_ro", "wasm.call"),
            ("write", "wasm.call", "wasm.call_ro"),
            ("scripting", "wasm.call", "wasm.list"),
            ("dangerous", "wasm.load", "wasm.call"),
        ] {
            let listed = client.call(&["ACL", "CAT", category]);
            let has = |name: &str| {
                let mut listed = listed.elements().unwrap_or_default().iter();
                listed.any(|one| {
                    one.text()
                        .is_some_and(|text| text.eq_ignore_ascii_case(name))
                })
            };
            assert!(
                has(inside) && !has(outside),
                "{kind:?} @{category}: {listed:?}"
            );
        }
    }
}

#[test]
fn who_may_only_read_keys_may_make_calls_that_only_read() {
    for kind in EngineKind::here() {
        let engine = kind.start();
        let mut admin = engine.client();
        define(&mut admin, "ops", OPS);
        admin.run("SET r:1 v");
        let user = "ACL SETUSER reader on >pw %R~r:* +get +wasm.call_ro";
        assert_eq!(admin.run(user), Reply::Simple("OK".into()));
        let mut client = as_user(engine.client());
        let reply = client.run("WASM.CALL_RO ops.get KEYS r:1");
        assert_eq!(reply, Reply::Bulk(b"v".to_vec()), "{kind:?}");
        for words in [
            "WASM.CALL_RO ops.get KEYS other",
            "WASM.CALL ops.get KEYS r:1",
        ] {
            let reply = client.run(words);
            assert!(is_error(&reply, "NOPERM"), "{kind:?} {words}: {reply:?}");
        }
        // The command is allowed, but the keys are not.
        admin.run("ACL SETUSER reader +wasm.call");
        let reply = client.run("WASM.CALL ops.set KEYS r:1 ARGS w");
        assert!(is_error(&reply, "NOPERM"), "{kind:?}: {reply:?}");
    }
}
