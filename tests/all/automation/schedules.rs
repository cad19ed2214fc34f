//! Functions that are called by the clock.

use ferrite_tests::{Client, Reply, Server};
use rustix::process::Signal;

use super::{FAIL, NOTE, define, durable, next_note, ok};

/// A time far in the future, in milliseconds since 1970.
const FAR: &str = "4000000000000";

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
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "note", NOTE);
    let add = "WASM.SCHEDULE ADD often note.run EVERY 10ms KEYS k ARGS a b";
    assert_eq!(client.run(add), ok());
    for _ in 0..3 {
        assert_eq!(next_note(&mut client), "k|a|b");
    }
    let schedule = listed(&mut client, "often");
    assert_eq!(text(&schedule, "when"), Some("EVERY 10"));
    assert_eq!(text(&schedule, "outcome"), Some("OK"));
    assert_eq!(text(&schedule, "missed"), Some("skip"));
    assert_eq!(schedule.at("errors"), Some(&Reply::Int(0)));
    assert!(schedule.at("next").and_then(Reply::int) > schedule.at("last").and_then(Reply::int));
    let twice = client.run(add);
    assert!(
        twice
            .error()
            .is_some_and(|error| error.starts_with("EXISTS ")),
        "{twice:?}"
    );
    assert_eq!(client.run("WASM.SCHEDULE DEL often"), ok());
    assert_eq!(client.run("WASM.SCHEDULE LIST"), Reply::Array(Vec::new()));
    let gone = client.run("WASM.SCHEDULE DEL often");
    assert!(
        gone.error()
            .is_some_and(|error| error.contains("no schedule \"often\"")),
        "{gone:?}"
    );
}

#[test]
fn a_call_that_fails_is_told_and_comes_again() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "fail", FAIL);
    assert_eq!(client.run("WASM.SCHEDULE ADD bad fail EVERY 10ms"), ok());
    let schedule = until_run(&mut client, "bad");
    let outcome = text(&schedule, "outcome").unwrap_or_default();
    assert!(outcome.starts_with("TRAP "), "{outcome}");
    assert_eq!(schedule.at("errors"), schedule.at("runs"));
    assert!(schedule.at("next").and_then(Reply::int).is_some());
    // Its function may go away.
    assert_eq!(client.run("WASM.UNLOAD fail"), ok());
    while !text(&listed(&mut client, "bad"), "outcome").is_some_and(|o| o.starts_with("NOFUNC ")) {}
}

#[test]
fn a_time_comes_once_and_a_passed_one_is_refused() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "note", NOTE);
    let passed = client.run("WASM.SCHEDULE ADD past note AT 1000");
    assert!(
        passed
            .error()
            .is_some_and(|error| error.contains("has passed")),
        "{passed:?}"
    );
    assert_eq!(
        client.run("WASM.SCHEDULE ADD past note AT 1000 MISSED once ARGS now"),
        ok()
    );
    assert_eq!(next_note(&mut client), "|now");
    let schedule = until_run(&mut client, "past");
    assert_eq!(schedule.at("next"), Some(&Reply::Null));
    assert_eq!(schedule.at("runs"), Some(&Reply::Int(1)));
}

#[test]
fn schedules_outlive_the_server_and_tell_what_they_missed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = durable(dir.path());
    let mut client = server.client();
    define(&mut client, "note", NOTE);
    for line in [
        &format!("WASM.SCHEDULE ADD later note AT {FAR} ARGS x"),
        "WASM.SCHEDULE ADD nightly note CRON @daily",
        "WASM.SCHEDULE ADD made-up note EVERY 1h MISSED once ARGS missed",
    ] {
        assert_eq!(client.run(line), ok(), "{line}");
    }
    let before = client.run("WASM.SCHEDULE LIST");
    server.signal(Signal::KILL);
    drop(server);
    let server = durable(dir.path());
    let mut client = server.client();
    assert_eq!(client.run("WASM.SCHEDULE LIST"), before);
    assert_eq!(client.run("FLUSHALL"), ok());
    assert_eq!(client.run("DBSIZE"), Reply::Int(0));
    assert_eq!(client.run("WASM.SCHEDULE LIST"), before);
}

/// Each run writes its note in the commit that counts it, so that the counts never differ.
#[test]
fn a_kill_neither_doubles_nor_loses_a_run() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut seen = 0;
    for _ in 0..4 {
        let server = durable(dir.path());
        let mut client = server.client();
        if seen == 0 {
            define(&mut client, "note", NOTE);
            assert_eq!(client.run("WASM.SCHEDULE ADD often note EVERY 10ms"), ok());
        }
        loop {
            let schedule = listed(&mut client, "often");
            let runs = schedule.at("runs").and_then(Reply::int).expect("a count");
            if runs > seen + 3 {
                seen = runs;
                break;
            }
        }
        // A commit is durable after those before it; what the list shows may be on its way to the disk.
        assert_eq!(client.run("SET after runs"), ok());
        server.signal(Signal::KILL);
    }
    let server = durable(dir.path());
    let mut client = server.client();
    // Without the function no run writes any more, and each is an error.
    assert_eq!(client.run("WASM.UNLOAD note"), ok());
    let schedule = loop {
        let schedule = listed(&mut client, "often");
        if schedule.at("errors").and_then(Reply::int) > Some(0) {
            break schedule;
        }
    };
    let count = |field| schedule.at(field).and_then(Reply::int).expect("a count");
    assert!(
        count("runs") - count("errors") >= seen,
        "{seen} were seen: {schedule:?}"
    );
    assert_eq!(
        client.run("LLEN log"),
        Reply::Int(count("runs") - count("errors"))
    );
}

#[test]
fn what_is_wrong_is_named() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "note", NOTE);
    for (line, part) in [
        ("WASM.SCHEDULE", "ERR wrong number of arguments"),
        ("WASM.SCHEDULE ADD", "ERR wrong number of arguments"),
        ("WASM.SCHEDULE LIST all", "ERR wrong number of arguments"),
        ("WASM.SCHEDULE ADDS x", "did you mean ADD?"),
        (
            "WASM.SCHEDULE ADD a.b note EVERY 1s",
            "the schedule's id \"a.b\" has '.'",
        ),
        ("WASM.SCHEDULE ADD a note", "give one of EVERY"),
        (
            "WASM.SCHEDULE ADD a note.nope EVERY 1s",
            "NOFUNC function \"note\" has no entry \"nope\"",
        ),
        (
            "WASM.SCHEDULE ADD a note EVERY 1s AT 5",
            "give one of EVERY",
        ),
        (
            "WASM.SCHEDULE ADD a note EVERY 1ms",
            "EVERY must be at least 10 ms",
        ),
        (
            "WASM.SCHEDULE ADD a note EVERY soon",
            "option EVERY: \"soon\" is no time",
        ),
        ("WASM.SCHEDULE ADD a note AT -1", "AT: \"-1\" is no time"),
        (
            "WASM.SCHEDULE ADD a note CRON nightly",
            "is no expression of cron",
        ),
        (
            "WASM.SCHEDULE ADD a note EVERY 1s MISSED all",
            "it takes skip, once",
        ),
        (
            "WASM.SCHEDULE ADD a note EVERY 1s EVERY 2s",
            "option EVERY is given twice",
        ),
        (
            "WASM.SCHEDULE ADD a other EVERY 1s",
            "NOFUNC no function \"other\"",
        ),
    ] {
        let reply = client.run(line);
        assert!(
            reply.error().is_some_and(|error| error.contains(part)),
            "{line}: {reply:?}"
        );
    }
    assert_eq!(client.run("WASM.SCHEDULE LIST"), Reply::Array(Vec::new()));
}

/// A user who may manage some functions sees and removes only their schedules.
#[test]
fn schedules_of_other_functions_are_hidden() {
    let server = Server::builder()
        .config("[server]\nusers = [\"root may=all password=r\", \"ann may=manage password=a functions=fail\"]\n")
        .start();
    let mut client = server.client();
    assert_eq!(client.run("AUTH root r"), ok());
    define(&mut client, "note", NOTE);
    define(&mut client, "fail", FAIL);
    assert_eq!(
        client.run(&format!("WASM.SCHEDULE ADD one note AT {FAR}")),
        ok()
    );
    assert_eq!(
        client.run(&format!("WASM.SCHEDULE ADD two fail AT {FAR}")),
        ok()
    );
    let mut ann = server.client();
    assert_eq!(ann.run("AUTH ann a"), ok());
    let seen = ann.run("WASM.SCHEDULE LIST");
    let ids: Vec<_> = seen
        .elements()
        .into_iter()
        .flatten()
        .map(|one| text(one, "id"))
        .collect();
    assert_eq!(ids, [Some("two")]);
    let refused = ann.run("WASM.SCHEDULE DEL one");
    assert!(
        refused
            .error()
            .is_some_and(|error| error.contains("no schedule")),
        "{refused:?}"
    );
    let refused = ann.run("WASM.SCHEDULE ADD three note EVERY 1s");
    assert!(
        refused
            .error()
            .is_some_and(|error| error.starts_with("NOPERM")),
        "{refused:?}"
    );
    assert_eq!(ann.run("WASM.SCHEDULE DEL two"), ok());
}
