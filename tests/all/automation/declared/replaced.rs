//! Loads that replace what a module declared: those that fail, those beside writes, and what events become.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use ferrite_tests::{Client, Reply, Server};
use rustix::process::Signal;

use super::super::{FAIL, Finish, NOTE, READ_WRITE, declaring, durable, names, next_note, ok};
use super::loaded;

/// Replaces a function by a module that declares these lines.
fn replace(client: &mut Client, name: &str, source: &str, lines: &str, permissions: &str) -> Reply {
    let source = declaring(source, lines);
    let words = ["WASM.DEFINE", name, &source, "PERMISSIONS", permissions];
    client.call(&[&words[..], &["REPLACE"]].concat())
}

fn figure(client: &mut Client, trigger: &str, field: &str) -> i64 {
    let info = client.call(&["WASM.TRIGGER", "INFO", trigger]);
    let value = info.at(field).and_then(Reply::int);
    value.unwrap_or_else(|| panic!("no {field} in {info:?}"))
}

/// Number of a trigger's events that wait or, on a slow machine, were given up.
fn kept(client: &mut Client, trigger: &str) -> usize {
    let info = client.call(&["WASM.TRIGGER", "INFO", trigger]);
    let pending = info.at("pending").and_then(Reply::int);
    let dead = info.at("dead").and_then(Reply::elements).map(<[_]>::len);
    usize::try_from(pending.expect("a count")).expect("a count") + dead.expect("a list")
}

/// Waits for the next note, without the parts that differ from run to run: number, attempt, time.
fn next_event(client: &mut Client) -> String {
    let note = next_note(client);
    let parts: Vec<&str> = note.split('|').collect();
    parts[..parts.len() - 3].join("|")
}

/// The registry's file is in the way of changes until it is moved back.
#[test]
fn a_load_that_fails_loses_no_event() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = durable(dir.path());
    let mut client = server.client();
    let lines = "on run KEYS k EVENTS set\non run KEYS x EVENTS del\nevery run 1h";
    loaded(&replace(&mut client, "f", FAIL, lines, READ_WRITE));
    assert_eq!(client.run("SET k v"), ok());
    while figure(&mut client, "f:run", "failures") == 0 {}
    let listed = client.run("WASM.SCHEDULE LIST");

    let (file, aside) = (
        dir.path().join("data/functions.json"),
        dir.path().join("aside"),
    );
    fs::rename(&file, &aside).expect("moved");
    fs::create_dir_all(file.join("in the way")).expect("created");
    let other = "on run KEYS y EVENTS set\nevery run 2h";
    for reply in [
        replace(&mut client, "f", NOTE, other, READ_WRITE),
        replace(&mut client, "f", NOTE, "", READ_WRITE),
        replace(&mut client, "g", NOTE, other, READ_WRITE),
        client.run("WASM.UNLOAD f"),
    ] {
        let error = reply.error().unwrap_or_default();
        assert!(error.starts_with("STORE nothing was changed"), "{reply:?}");
        assert_eq!(names(&mut client, "WASM.TRIGGER"), ["f:run", "f:run:2"]);
        assert_eq!(client.run("WASM.SCHEDULE LIST"), listed);
        assert_eq!(kept(&mut client, "f:run"), 1);
    }
    fs::remove_dir_all(&file).expect("removed");
    fs::rename(&aside, &file).expect("moved back");

    // Nor is it lost on disk.
    server.signal(Signal::KILL);
    drop(server);
    let server = durable(dir.path());
    let mut client = server.client();
    assert_eq!(names(&mut client, "WASM.TRIGGER"), ["f:run", "f:run:2"]);
    assert_eq!(client.run("WASM.SCHEDULE LIST"), listed);
    loaded(&replace(&mut client, "f", NOTE, lines, READ_WRITE));
    let retried = client.run("WASM.TRIGGER RETRY f:run");
    assert!(retried.error().is_none(), "{retried:?}");
    assert_eq!(next_event(&mut client), "k|set|none||string|v|f:run");
    // A change that succeeds drops the events of what is gone as they come to their turn, from the disk too.
    loaded(&replace(&mut client, "f", FAIL, lines, READ_WRITE));
    assert_eq!(client.run("SET k w"), ok());
    while figure(&mut client, "f:run", "failures") == 0 {}
    loaded(&replace(&mut client, "f", FAIL, other, READ_WRITE));
    while figure(&mut client, "f:run", "pending") != 0 {}
    loaded(&replace(&mut client, "f", NOTE, lines, READ_WRITE));
    assert_eq!(figure(&mut client, "f:run", "pending"), 0);
    server.signal(Signal::KILL);
    drop(server);
    let server = durable(dir.path());
    let mut client = server.client();
    assert_eq!(figure(&mut client, "f:run", "pending"), 0);
    assert_eq!(client.run("LLEN log"), Reply::Int(0));
}

/// Refuses a new value that begins with `!`. `%` stands for the entry.
const REFUSE: &str = r#"(module
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "reply_error" (func $reply_error (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "REFUSED always")
  (func (export "%")
    (drop (call $arg (i32.const 4) (i32.const 100) (i32.const 100)))
    (if (i32.eq (i32.load8_u (i32.const 100)) (i32.const 33))
      (then (call $reply_error (i32.const 0) (i32.const 14))))))"#;

/// Each version of the guard has an entry of its own, so that a trigger and the function that it calls must
/// change together: no good write is refused meanwhile, and no bad one passes.
#[test]
fn a_guard_that_is_replaced_refuses_what_it_should_all_the_time() {
    const VERSIONS: usize = 8;
    let server = Server::start();
    let mut client = server.client();
    let load = |client: &mut Client, number: usize| {
        let entry = format!("check{}", number % 2);
        let source = REFUSE.replace('%', &entry);
        let lines = format!("on {entry} KEYS k* EVENTS set BEFORE");
        loaded(&replace(client, "guard", &source, &lines, READ_WRITE));
    };
    load(&mut client, 0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let mut client = server.client();
                let key = format!("k{writer}");
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(client.call(&["SET", &key, "fine"]), ok());
                    let bad = client.call(&["SET", &key, "!"]);
                    assert_eq!(bad.error(), Some("REFUSED always"), "{bad:?}");
                }
            });
        }
        let _finish = Finish(&done);
        (1..VERSIONS).for_each(|number| load(&mut client, number));
    });
    // A guard that comes and goes refuses nothing good.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let mut client = server.client();
                let key = format!("k{writer}");
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(client.call(&["SET", &key, "fine"]), ok());
                }
            });
        }
        let _finish = Finish(&done);
        for number in 0..VERSIONS {
            assert_eq!(client.run("WASM.UNLOAD guard"), ok());
            assert_eq!(client.run("SET k !"), ok());
            load(&mut client, number);
            assert!(client.run("SET k !").error().is_some());
        }
    });
}

/// An event that the trigger does not want any more is not delivered: the function may not be allowed to see
/// it.
#[test]
fn events_that_a_trigger_wants_no_more_are_dropped() {
    let server = Server::start();
    let mut client = server.client();
    let wide = "on run KEYS a b EVENTS set append";
    loaded(&replace(&mut client, "f", FAIL, wide, READ_WRITE));
    for line in ["SET a 1", "SET b 2", "APPEND b 3"] {
        assert!(client.run(line).error().is_none(), "{line}");
    }
    assert_eq!(figure(&mut client, "f:run", "pending"), 3);
    let narrow = "on run KEYS b EVENTS append";
    let less = r#"{"allowed_keys":["b","log"],"allow_write":true}"#;
    loaded(&replace(&mut client, "f", NOTE, narrow, less));
    assert_eq!(next_event(&mut client), "b|append|string|2|string|23|f:run");
    while figure(&mut client, "f:run", "pending") != 0 {}
    assert_eq!(figure(&mut client, "f:run", "delivered"), 1);
    assert_eq!(client.run("LLEN log"), Reply::Int(0));
    // What runs before a commit gets no event from after one.
    loaded(&replace(&mut client, "f", FAIL, wide, READ_WRITE));
    assert_eq!(client.run("SET a 1"), ok());
    let before = "on run KEYS a b EVENTS set append BEFORE";
    loaded(&replace(&mut client, "f", NOTE, before, READ_WRITE));
    while figure(&mut client, "f:run", "pending") != 0 {}
    assert_eq!(client.run("LLEN log"), Reply::Int(0));
}

/// A module cannot give itself values that no command of its function may read.
#[test]
fn values_that_a_function_may_not_read_are_not_handed_over() {
    let server = Server::start();
    let mut client = server.client();
    let may = |commands: &str| format!(r#"{{"allowed_commands":[{commands}],"allow_write":true}}"#);
    for lines in [
        "on run KEYS k h EVENTS set hset",
        "on run KEYS k h EVENTS set hset BEFORE",
    ] {
        let nothing = may(r#""RPUSH""#);
        loaded(&replace(&mut client, "f", NOTE, lines, &nothing));
        for (line, expected) in [
            ("SET k v", "k|set|none||denied||f:run"),
            ("SET k w", "k|set|denied||denied||f:run"),
            ("HSET h f v", "h|hset|none||denied||f:run"),
        ] {
            assert!(client.run(line).error().is_none(), "{line}");
            assert_eq!(next_event(&mut client), expected, "{lines}");
        }
        let strings = may(r#""RPUSH","GET""#);
        loaded(&replace(&mut client, "f", NOTE, lines, &strings));
        for (line, expected) in [
            ("SET k x", "k|set|string|w|string|x|f:run"),
            ("HSET h f w", "h|hset|denied||denied||f:run"),
            ("DEL k h", ""),
        ] {
            assert!(client.run(line).error().is_none(), "{line}");
            if !expected.is_empty() {
                assert_eq!(next_event(&mut client), expected, "{lines}");
            }
        }
    }
    // Whoever adds a trigger by hand decides that the function gets the values.
    loaded(&replace(&mut client, "f", NOTE, "", &may(r#""RPUSH""#)));
    assert_eq!(client.run("WASM.TRIGGER ADD t f KEYS k EVENTS set"), ok());
    assert_eq!(client.run("SET k v"), ok());
    assert_eq!(next_event(&mut client), "k|set|none||string|v|t");
}

/// The database is that of the load, although nothing was declared then.
#[test]
fn a_reload_adds_for_the_database_of_the_load() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = durable(dir.path());
    let mut client = server.client();
    let lines = "on run KEYS k EVENTS set";
    let reply = replace(&mut client, "other", NOTE, lines, READ_WRITE);
    let digest = reply.text().expect("loaded").to_owned();
    assert_eq!(client.run("WASM.UNLOAD other"), ok());
    assert_eq!(client.run("SELECT 3"), ok());
    loaded(&replace(&mut client, "f", NOTE, "", READ_WRITE));
    server.stop();
    let server = durable(dir.path());
    let mut client = server.client();
    let info = client.run("WASM.INFO f");
    assert_eq!(info.at("declares"), None, "{info:?}");
    loaded(&client.call(&["WASM.RELOAD", "f", &digest]));
    assert_eq!(client.run("SET k 0"), ok());
    assert_eq!(client.run("SELECT 3"), ok());
    assert_eq!(client.run("SET k 3"), ok());
    assert_eq!(next_event(&mut client), "k|set|none||string|3|f:run");
}
