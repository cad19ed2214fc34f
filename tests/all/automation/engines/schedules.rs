//! Functions that are called by the clock.

use ferrite_tests::{Client, EngineKind, Reply};

use super::super::{FAIL, NOTE, define, next_note, ok};
use super::durable;

fn listed(client: &mut Client, id: &str) -> Reply {
    let reply = client.run("WASM.SCHEDULE LIST");
    let schedules = reply.elements().expect("a list");
    let one = schedules
        .iter()
        .find(|one| one.at("id").and_then(Reply::text) == Some(id));
    one.unwrap_or_else(|| panic!("no schedule {id}: {reply:?}"))
        .clone()
}

fn text<'r>(schedule: &'r Reply, field: &str) -> Option<&'r str> {
    schedule.at(field).and_then(Reply::text)
}

/// Asks again until the schedule has run, and returns it.
fn until_run(client: &mut Client, id: &str) -> Reply {
    loop {
        let schedule = listed(client, id);
        if schedule.at("runs").and_then(Reply::int) > Some(0) {
            return schedule;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_function_runs_again_and_again_with_its_input() {
    for kind in EngineKind::here() {
        let engine = kind.start();
        let mut client = engine.client();
        define(&mut client, "note", NOTE);
        define(&mut client, "fail", FAIL);
        let add = "WASM.SCHEDULE ADD often note.run EVERY 10ms KEYS k ARGS a b";
        assert_eq!(client.run(add), ok());
        for _ in 0..3 {
            assert_eq!(next_note(&mut client), "k|a|b", "{kind:?}");
        }
        let schedule = until_run(&mut client, "often");
        assert_eq!(text(&schedule, "when"), Some("EVERY 10"));
        assert_eq!(text(&schedule, "outcome"), Some("OK"));
        let twice = client.run(add);
        assert!(
            twice
                .error()
                .is_some_and(|error| error.starts_with("EXISTS ")),
            "{twice:?}"
        );
        assert_eq!(client.run("WASM.SCHEDULE DEL often"), ok());
        assert_eq!(client.run("WASM.SCHEDULE ADD bad fail EVERY 10ms"), ok());
        let schedule = until_run(&mut client, "bad");
        let outcome = text(&schedule, "outcome").unwrap_or_default();
        assert!(outcome.starts_with("TRAP "), "{kind:?}: {outcome}");
        assert_eq!(schedule.at("errors"), schedule.at("runs"));
        // A time that has passed counts with MISSED once alone.
        let passed = client.run("WASM.SCHEDULE ADD past note AT 1000");
        assert!(passed.error().is_some(), "{passed:?}");
        let once = "WASM.SCHEDULE ADD past note AT 1000 MISSED once ARGS now";
        assert_eq!(client.run(once), ok());
    }
}

#[test]
fn schedules_outlive_the_server_and_no_run_is_doubled() {
    for kind in EngineKind::ends_here() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut engine = durable(kind, dir.path());
        let mut client = engine.client();
        define(&mut client, "note", NOTE);
        for line in [
            "WASM.SCHEDULE ADD later note AT 4000000000000 ARGS x",
            "WASM.SCHEDULE ADD nightly note CRON @daily",
            "WASM.SCHEDULE ADD once note AT 1000 MISSED once ARGS past",
        ] {
            assert_eq!(client.run(line), ok(), "{line}");
        }
        let schedule = until_run(&mut client, "once");
        assert_eq!(schedule.at("runs"), Some(&Reply::Int(1)));
        let before = client.run("WASM.SCHEDULE LIST");
        engine.kill();
        let mut engine = durable(kind, dir.path());
        let mut client = engine.client();
        assert_eq!(client.run("WASM.SCHEDULE LIST"), before, "{kind:?}");
        // One half comes from the rewritten file, the other from the commands after it.
        client.run("BGREWRITEAOF");
        while crate::engines::info(&mut client, "persistence", "aof_rewrite_in_progress") != "0"
            || crate::engines::info(&mut client, "persistence", "aof_rewrite_scheduled") != "0"
        {
        }
        assert_eq!(client.run("WASM.SCHEDULE DEL nightly"), ok());
        assert_eq!(client.run("FLUSHALL"), ok());
        let before = client.run("WASM.SCHEDULE LIST");
        assert_eq!(before.elements().map(<[_]>::len), Some(2));
        engine.kill();
        let engine = durable(kind, dir.path());
        let mut client = engine.client();
        assert_eq!(client.run("WASM.SCHEDULE LIST"), before, "{kind:?}");
        assert_eq!(
            client.run("EXISTS log"),
            Reply::Int(0),
            "it did not run again"
        );
    }
}
