//! Triggers and schedules on a primary with a replica, and after the replica took over.

use ferrite_tests::{Client, Engine, EngineKind, Reply};

use super::super::{FAIL, NOTE, define, ok};
use super::{add, count, next_event, replace, run_all, until_count};
use crate::engines::{info, until};

fn pair(kind: EngineKind) -> (Engine, Engine) {
    let start = || {
        let builder = kind.builder();
        builder
            .arguments(&["--repl-diskless-sync-delay", "0"])
            .start()
    };
    let (primary, replica) = (start(), start());
    let port = primary.port().to_string();
    let mut client = replica.client();
    client.call(&["REPLICAOF", "127.0.0.1", &port]);
    while info(&mut client, "replication", "master_link_status") != "up" {}
    (primary, replica)
}

/// Waits until the replica has everything.
fn caught_up(client: &mut Client) {
    assert_eq!(client.run("WAIT 1 60000"), Reply::Int(1));
}

#[test]
fn a_replica_that_takes_over_goes_on_with_the_events() {
    for kind in EngineKind::ends_here() {
        let (mut primary, replica) = pair(kind);
        let (mut client, mut second) = (primary.client(), replica.client());
        define(&mut client, "note", FAIL);
        add(&mut client, "t note KEYS k* EVENTS set");
        for value in 0..30 {
            run_all(&mut client, &[&format!("SET k{} {value}", value % 2)]);
        }
        caught_up(&mut client);
        // A replica has them and delivers nothing, nor does it take new triggers.
        assert_eq!(
            second.run("HLEN ferrite:events"),
            Reply::Int(30),
            "{kind:?}"
        );
        assert_eq!(count(&mut second, "t", "occurred"), 0, "{kind:?}");
        assert_eq!(count(&mut second, "t", "failures"), 0, "{kind:?}");
        let reply = second.run("WASM.TRIGGER ADD u note KEYS k EVENTS set");
        assert!(
            reply
                .error()
                .is_some_and(|error| error.contains("is a replica")),
            "{kind:?}: {reply:?}"
        );
        primary.kill();
        run_all(&mut second, &["REPLICAOF NO ONE"]);
        until_count(&mut second, "t", "failures", |failures| failures > 0);
        replace(&mut second, "note", NOTE);
        run_all(&mut second, &["SET k0 30"]);
        let events: Vec<_> = (0..31).map(|_| next_event(&mut second)).collect();
        for key in 0..2 {
            let of_key = events
                .iter()
                .filter(|event| event.starts_with(&format!("k{key}|")));
            let values: Vec<i64> = of_key
                .filter_map(|event| event.split('|').nth(5)?.parse().ok())
                .collect();
            let expected: Vec<i64> = (0..31).filter(|value| value % 2 == key).collect();
            assert_eq!(values, expected, "{kind:?}, k{key}");
        }
        until_count(&mut second, "t", "pending", |pending| pending == 0);
        assert_eq!(second.run("EXISTS ferrite:events"), Reply::Int(0));
    }
}

/// A primary that becomes a replica hands its triggers over, and forgets its own.
#[test]
fn a_full_copy_brings_the_triggers_and_schedules_of_its_source_alone() {
    for kind in EngineKind::ends_here() {
        let (primary, other) = (kind.start(), kind.start());
        let (mut client, mut second) = (primary.client(), other.client());
        for client in [&mut client, &mut second] {
            define(client, "note", NOTE);
        }
        add(&mut client, "ours note KEYS k EVENTS set");
        let far = "WASM.SCHEDULE ADD later note AT 4000000000000 ARGS x";
        assert_eq!(client.run(far), ok());
        add(&mut second, "theirs note KEYS k EVENTS set");
        let port = primary.port().to_string();
        second.call(&["REPLICAOF", "127.0.0.1", &port]);
        let list = client.run("WASM.TRIGGER LIST");
        until(&mut second, &["WASM.TRIGGER", "LIST"], |reply| {
            *reply == list
        });
        let schedules = client.run("WASM.SCHEDULE LIST");
        until(&mut second, &["WASM.SCHEDULE", "LIST"], |reply| {
            *reply == schedules
        });
        assert_eq!(client.run("WASM.TRIGGER DEL ours"), ok());
        assert_eq!(client.run("WASM.SCHEDULE DEL later"), ok());
        for words in [["WASM.TRIGGER", "LIST"], ["WASM.SCHEDULE", "LIST"]] {
            until(&mut second, &words, |reply| {
                *reply == Reply::Array(Vec::new())
            });
        }
    }
}

/// Each run notes itself in the unit that counts it, on the replica too.
#[test]
fn a_schedule_goes_on_where_its_primary_was() {
    for kind in EngineKind::ends_here() {
        let (mut primary, replica) = pair(kind);
        let (mut client, mut second) = (primary.client(), replica.client());
        define(&mut client, "note", NOTE);
        assert_eq!(client.run("WASM.SCHEDULE ADD often note EVERY 10ms"), ok());
        let runs = |client: &mut Client, least: i64| {
            until(client, &["LLEN", "log"], |len| len.int() >= Some(least))
        };
        runs(&mut second, 3);
        // The replica needs the function's code, which it fetches from its primary.
        until(&mut second, &["WASM.CALL_RO", "note"], |reply| {
            !reply
                .error()
                .is_some_and(|error| error.starts_with("NOARTIFACT"))
        });
        primary.kill();
        run_all(&mut second, &["REPLICAOF NO ONE"]);
        let before = second.run("LLEN log").int().expect("a number");
        runs(&mut second, before + 3);
        // Without the function each run is an error, and notes nothing.
        assert_eq!(second.run("WASM.UNLOAD note"), ok());
        let list = until(&mut second, &["WASM.SCHEDULE", "LIST"], |list| {
            let one = list.elements().and_then(|list| list.first());
            one.and_then(|one| one.at("errors")?.int()) > Some(0)
        });
        let one = &list.elements().expect("a list")[0];
        let number = |field| one.at(field).and_then(Reply::int).expect("a number");
        assert_eq!(
            second.run("LLEN log"),
            Reply::Int(number("runs") - number("errors")),
            "{kind:?}"
        );
    }
}
