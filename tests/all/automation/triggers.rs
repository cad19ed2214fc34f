//! Functions that are called after events of keys.

use ferrite_tests::{Client, Reply, Server};
use rustix::process::Signal;

use super::{FAIL, NOTE, define, durable, next_note, ok};

/// Writes its own first key again: an endless loop, if nothing ends it.
const LOOP: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "run")
    (drop (call $set (i32.const 0)
      (call $key (i32.const 0) (i32.const 0) (i32.const 256))
      (i32.const 0) (i32.const 1) (i32.const 0) (i64.const -1)))))"#;

/// Waits for the next note, without the parts that differ from run to run: number, attempt, time.
fn next_event(client: &mut Client) -> String {
    let note = next_note(client);
    let mut parts: Vec<&str> = note.split('|').collect();
    parts.truncate(parts.len().saturating_sub(3));
    parts.join("|")
}

fn info(client: &mut Client, name: &str) -> Reply {
    client.run(&format!("WASM.TRIGGER INFO {name}"))
}

fn count(client: &mut Client, name: &str, field: &str) -> i64 {
    let info = info(client, name);
    let value = info.at(field).and_then(Reply::int);
    value.unwrap_or_else(|| panic!("no {field} in {info:?}"))
}

#[test]
fn a_function_gets_the_event_and_the_values_before_and_after() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "note", NOTE);
    assert_eq!(
        client.run("WASM.TRIGGER ADD t note KEYS user:* EVENTS *"),
        ok()
    );
    for line in [
        "SET user:1 a",
        "APPEND user:1 b",
        "SET other x",
        "HSET user:2 f v",
        "HDEL user:2 f",
        "DEL user:1",
        "SELECT 1",
        "SET user:1 elsewhere",
        "SELECT 0",
        "RENAME other user:3",
    ] {
        assert!(client.run(line).error().is_none(), "{line}");
    }
    let mut notes: Vec<_> = (0..7).map(|_| next_event(&mut client)).collect();
    // Of different keys the order is open.
    notes.sort();
    let hash = "*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
    let mut expected = [
        "user:1|set|none||string|a|t".to_owned(),
        "user:1|append|string|a|string|ab|t".to_owned(),
        "user:1|del|string|ab|none||t".to_owned(),
        format!("user:2|hset|none||hash|{hash}|t"),
        format!("user:2|hdel|hash|{hash}|none||t"),
        format!("user:2|del|hash|{hash}|none||t"),
        "user:3|rename_to|none||string|x|t".to_owned(),
    ]
    .to_vec();
    expected.sort();
    assert_eq!(notes, expected);
}

#[test]
fn expired_brings_the_value_that_expired() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "note", NOTE);
    assert_eq!(
        client.run("WASM.TRIGGER ADD t note KEYS session:* EVENTS expired"),
        ok()
    );
    assert_eq!(client.run("SET session:1 cart PX 1"), ok());
    assert_eq!(
        next_event(&mut client),
        "session:1|expired|string|cart|none||t"
    );
    // A key that a command finds expired is told as well.
    assert_eq!(client.run("SET session:2 two PX 1"), ok());
    while client.run("GET session:2") != Reply::Null {}
    assert_eq!(
        next_event(&mut client),
        "session:2|expired|string|two|none||t"
    );
}

#[test]
fn events_of_one_key_come_in_order_whoever_causes_them() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "note", NOTE);
    assert_eq!(
        client.run("WASM.TRIGGER ADD t note KEYS k EVENTS set"),
        ok()
    );
    let mut sent = Vec::new();
    for value in 0..500 {
        sent.extend(ferrite_tests::encode(&["SET", "k", &value.to_string()]));
    }
    for words in [
        &["MULTI"][..],
        &["SET", "k", "500"],
        &["SET", "k", "501"],
        &["EXEC"],
    ] {
        sent.extend(ferrite_tests::encode(words));
    }
    client.send(&sent);
    for _ in 0..504 {
        assert!(client.reply().error().is_none());
    }
    for value in 0..502 {
        let old = match value {
            0 => "none|".to_owned(),
            value => format!("string|{}", value - 1),
        };
        assert_eq!(
            next_event(&mut client),
            format!("k|set|{old}|string|{value}|t")
        );
    }
    assert_eq!(count(&mut client, "t", "occurred"), 502);
}

#[test]
fn a_failing_function_is_tried_again_and_then_given_up() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "note", FAIL);
    assert_eq!(
        client.run("WASM.TRIGGER ADD t note KEYS k* EVENTS set"),
        ok()
    );
    assert_eq!(client.run("SET k1 v"), ok());
    while count(&mut client, "t", "failures") == 0 {}
    // Mended meanwhile: the event is still there.
    let mend = client.call(&[
        "WASM.DEFINE",
        "note",
        NOTE,
        "PERMISSIONS",
        super::READ_WRITE,
        "REPLACE",
    ]);
    assert!(mend.text().is_some(), "{mend:?}");
    assert_eq!(next_event(&mut client), "k1|set|none||string|v|t");
    assert_eq!(count(&mut client, "t", "pending"), 0);
    let info = info(&mut client, "t");
    let error = info
        .at("last_error")
        .and_then(Reply::text)
        .unwrap_or_default();
    assert!(error.starts_with("TRAP "), "{error}");
}

#[test]
fn a_loop_ends_at_its_depth_and_its_event_is_kept() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "loop", LOOP);
    assert_eq!(
        client.run("WASM.TRIGGER ADD t loop KEYS k EVENTS set"),
        ok()
    );
    assert_eq!(client.run("SET k v"), ok());
    while count(&mut client, "t", "given_up") == 0 {}
    while count(&mut client, "t", "pending") != 0 {}
    assert_eq!(count(&mut client, "t", "delivered"), 8);
    let info = info(&mut client, "t");
    let dead = info.at("dead").and_then(Reply::elements).expect("a list");
    let error = dead[0]
        .at("error")
        .and_then(Reply::text)
        .unwrap_or_default();
    assert!(error.starts_with("LIMIT 8 events in a row"), "{error}");
    // Tried again, it goes round as often, and is given up again.
    assert_eq!(client.run("WASM.TRIGGER RETRY t"), Reply::Int(1));
    while count(&mut client, "t", "given_up") == 1 {}
    while count(&mut client, "t", "pending") != 0 {}
    assert_eq!(count(&mut client, "t", "delivered"), 16);
    assert_eq!(client.run("WASM.TRIGGER DEL t"), ok());
    assert_eq!(client.run("WASM.TRIGGER LIST"), Reply::Array(Vec::new()));
    assert_eq!(client.run("SET k v"), ok());
}

/// Acknowledged events are delivered although the server is killed, and a delivery's writes are there once.
#[test]
fn a_kill_neither_loses_nor_doubles_an_event() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut answered = 0;
    for round in 0..4 {
        let server = durable(dir.path());
        let mut client = server.client();
        if round == 0 {
            define(&mut client, "note", NOTE);
            assert_eq!(
                client.run("WASM.TRIGGER ADD t note KEYS k:* EVENTS set"),
                ok()
            );
        }
        for _ in 0..40 {
            assert_eq!(
                client.run(&format!("SET k:{} {answered}", answered % 3)),
                ok()
            );
            answered += 1;
        }
        server.signal(Signal::KILL);
    }
    let server = durable(dir.path());
    let mut client = server.client();
    while count(&mut client, "t", "pending") != 0 {}
    let notes = client.run("LRANGE log 0 -1");
    let notes: Vec<_> = notes
        .elements()
        .expect("a list")
        .iter()
        .filter_map(Reply::text)
        .collect();
    for key in 0..3 {
        let of_key = notes
            .iter()
            .filter(|note| note.starts_with(&format!("k:{key}|")));
        let values: Vec<i64> = of_key
            .filter_map(|note| note.split('|').nth(5)?.parse().ok())
            .collect();
        let expected: Vec<i64> = (0..answered).filter(|value| value % 3 == key).collect();
        assert_eq!(values, expected, "of k:{key}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "note", NOTE);
    for (line, part) in [
        ("WASM.TRIGGER", "ERR wrong number of arguments"),
        ("WASM.TRIGGER INFO", "ERR wrong number of arguments"),
        ("WASM.TRIGGER SHOW t", "unknown option \"SHOW\""),
        ("WASM.TRIGGER ADD t note", "option KEYS needs a value"),
        (
            "WASM.TRIGGER ADD t note KEYS a",
            "option EVENTS needs a value",
        ),
        (
            "WASM.TRIGGER ADD t note KEYS EVENTS set",
            "option KEYS needs a value",
        ),
        (
            "WASM.TRIGGER ADD t note KEYS a EVENTS s-t",
            "is no name of an event",
        ),
        (
            "WASM.TRIGGER ADD t note KEYS [a EVENTS set",
            "pattern \"[a\"",
        ),
        (
            "WASM.TRIGGER ADD t.x note KEYS a EVENTS set",
            "the trigger's name \"t.x\" has '.'",
        ),
        (
            "WASM.TRIGGER ADD t other KEYS a EVENTS set",
            "NOFUNC no function \"other\"",
        ),
        (
            "WASM.TRIGGER ADD t note.nope KEYS a EVENTS set",
            "NOFUNC function \"note\" has no entry \"nope\"",
        ),
        (
            "WASM.TRIGGER ADD t note KEYS a KEYS b EVENTS set",
            "KEYS is given twice",
        ),
        (
            "WASM.TRIGGER ADD t note KEYS a EVENTS set BEFORE AFTER",
            "give BEFORE or AFTER, not both",
        ),
        ("WASM.TRIGGER DEL t", "there is no trigger \"t\""),
        ("WASM.TRIGGER INFO t", "there is no trigger \"t\""),
        ("WASM.TRIGGER RETRY t", "there is no trigger \"t\""),
    ] {
        let reply = client.run(line);
        assert!(
            reply.error().is_some_and(|error| error.contains(part)),
            "{line}: {reply:?}"
        );
    }
    assert_eq!(client.run("WASM.TRIGGER LIST"), Reply::Array(Vec::new()));
}
