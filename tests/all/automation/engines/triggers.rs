//! Functions that are called after events of keys.

use std::path::Path;

use ferrite_tests::{EngineKind, Reply};

use crate::engines::until;

use super::super::{FAIL, NOTE, define, ok};
use super::{PUT, add, count, durable, gone, next_event, replace, run_all, until_count};

/// Writes its own first key again: an endless loop, if nothing ends it.
const LOOP: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "run")
    (drop (call $set (i32.const 0)
      (call $key (i32.const 0) (i32.const 0) (i32.const 256))
      (i32.const 0) (i32.const 1) (i32.const 0) (i64.const -1)))))"#;

/// Runs `SET user:1 x`, and then traps.
const WRITE_AND_FAIL: &str = r#"(module
  (import "ferrite" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "SET*2\0d\0a$6\0d\0auser:1\0d\0a$1\0d\0ax\0d\0a")
  (func (export "run")
    (drop (call $call (i32.const 0) (i32.const 3) (i32.const 3) (i32.const 23)
      (i32.const 0) (i32.const 0)))
    unreachable))"#;

#[test]
fn a_function_gets_the_event_and_the_values() {
    for kind in EngineKind::here() {
        let engine = kind.start();
        let mut client = engine.client();
        define(&mut client, "note", NOTE);
        add(&mut client, "t note KEYS user:* EVENTS *");
        run_all(
            &mut client,
            &[
                "SET user:1 a",
                "APPEND user:1 b",
                "SET other x",
                "HSET user:2 f v g w",
                "HDEL user:2 g",
                "UNLINK user:2",
                "DEL user:1",
                "RPUSH user:3 a b",
                "SADD user:4 m",
                "ZADD user:5 2 b 1.5 a",
                "SELECT 1",
                "SET user:1 elsewhere",
                "SELECT 0",
                "RENAME other user:6",
            ],
        );
        let mut notes: Vec<_> = (0..10).map(|_| next_event(&mut client)).collect();
        // Of different keys the order is open.
        notes.sort();
        let mut expected = [
            "user:1|set|unknown||string|a|t".to_owned(),
            "user:1|append|unknown||string|ab|t".to_owned(),
            format!("user:1|del|{}|none||t", gone(kind, "string|ab")),
            "user:2|hset|unknown||hash|*4\r\n$1\r\nf\r\n$1\r\nv\r\n$1\r\ng\r\n$1\r\nw\r\n|t"
                .to_owned(),
            "user:2|hdel|unknown||hash|*2\r\n$1\r\nf\r\n$1\r\nv\r\n|t".to_owned(),
            format!(
                "user:2|del|{}|none||t",
                gone(kind, "hash|*2\r\n$1\r\nf\r\n$1\r\nv\r\n")
            ),
            "user:3|rpush|unknown||list|*2\r\n$1\r\na\r\n$1\r\nb\r\n|t".to_owned(),
            "user:4|sadd|unknown||set|*1\r\n$1\r\nm\r\n|t".to_owned(),
            "user:5|zadd|unknown||zset|*4\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\nb\r\n$1\r\n2\r\n|t"
                .to_owned(),
            "user:6|rename_to|unknown||string|x|t".to_owned(),
        ];
        expected.sort();
        assert_eq!(notes, expected, "{kind:?}");
        // Another key's events are not known, nor are those of the queue itself.
        assert_eq!(count(&mut client, "t", "occurred"), 10, "{kind:?}");
        assert_eq!(client.run("EXISTS ferrite:events"), Reply::Int(0));
        run_all(&mut client, &["SET user:7 a", "SET user:7 b"]);
        assert_eq!(next_event(&mut client), "user:7|set|unknown||string|a|t");
        let second = format!("user:7|set|{}|string|b|t", gone(kind, "string|a"));
        assert_eq!(next_event(&mut client), second, "{kind:?}");
    }
}

#[test]
fn keys_that_expire_or_are_evicted_are_told() {
    for kind in EngineKind::here() {
        let engine = kind.start();
        let mut client = engine.client();
        define(&mut client, "note", NOTE);
        add(&mut client, "t note KEYS session:* EVENTS expired evicted");
        let expired = |key: &str, value| format!("{key}|expired|{}|none||t", gone(kind, value));
        run_all(&mut client, &["SET session:1 cart PX 1"]);
        assert_eq!(
            next_event(&mut client),
            expired("session:1", "string|cart"),
            "{kind:?}"
        );
        // A key that a command finds expired is told as well.
        run_all(&mut client, &["RPUSH session:2 two", "PEXPIRE session:2 1"]);
        while client.run("EXISTS session:2") != Reply::Int(0) {}
        let list = expired("session:2", "list|*1\r\n$3\r\ntwo\r\n");
        assert_eq!(next_event(&mut client), list, "{kind:?}");
        run_all(
            &mut client,
            &[
                "SET session:3 three EX 1000",
                "CONFIG SET maxmemory-policy volatile-ttl",
                "CONFIG SET maxmemory 1",
            ],
        );
        // A command that needs memory makes room first.
        client.run("SET other x");
        run_all(&mut client, &["CONFIG SET maxmemory 0"]);
        let evicted = format!("session:3|evicted|{}|none||t", gone(kind, "string|three"));
        assert_eq!(next_event(&mut client), evicted, "{kind:?}");
    }
}

#[test]
fn events_of_one_key_come_in_order_whoever_causes_them() {
    for kind in EngineKind::ends_here() {
        let engine = kind.start();
        let mut client = engine.client();
        define(&mut client, "note", NOTE);
        define(&mut client, "put", PUT);
        add(&mut client, "t note KEYS k EVENTS set");
        let mut sent = Vec::new();
        for value in 0..200 {
            sent.extend(ferrite_tests::encode(&["SET", "k", &value.to_string()]));
        }
        for words in [
            &["MULTI"][..],
            &["SET", "k", "200"],
            &["SET", "k", "201"],
            &["EXEC"],
            &["EVAL", "redis.call('SET',KEYS[1],'202')", "1", "k"],
            &["WASM.CALL", "put", "KEYS", "k", "ARGS", "203"],
        ] {
            sent.extend(ferrite_tests::encode(words));
        }
        client.send(&sent);
        for _ in 0..206 {
            assert!(client.reply().error().is_none());
        }
        for value in 0..204 {
            let event = next_event(&mut client);
            assert!(
                event.starts_with("k|set|") && event.ends_with(&format!("|string|{value}|t")),
                "{kind:?} {value}: {event}"
            );
        }
        assert_eq!(count(&mut client, "t", "occurred"), 204, "{kind:?}");
    }
}

#[test]
fn what_a_function_wrote_in_vain_causes_no_event() {
    for kind in EngineKind::ends_here() {
        let engine = kind.builder().module(&["offload", "beside"]).start();
        let mut client = engine.client();
        define(&mut client, "note", NOTE);
        add(&mut client, "t note KEYS user:* EVENTS set del restore");
        for name in ["fails", "beside"] {
            define(&mut client, name, WRITE_AND_FAIL);
            let reply = client.run(&format!("WASM.CALL {name}"));
            assert!(reply.error().is_some(), "{kind:?}: {reply:?}");
        }
        assert_eq!(client.run("EXISTS user:1"), Reply::Int(0));
        assert_eq!(count(&mut client, "t", "occurred"), 0, "{kind:?}");
        // The same command counts if the function succeeds.
        let ends = WRITE_AND_FAIL.replace("unreachable", "");
        for name in ["fails", "beside"] {
            replace(&mut client, name, &ends);
            let reply = client.run(&format!("WASM.CALL {name}"));
            assert!(reply.error().is_none(), "{kind:?}: {reply:?}");
            let event = next_event(&mut client);
            assert!(event.starts_with("user:1|set|"), "{kind:?}: {event}");
        }
        assert_eq!(count(&mut client, "t", "occurred"), 2, "{kind:?}");
    }
}

#[test]
fn a_failing_function_is_tried_again() {
    for kind in EngineKind::ends_here() {
        let engine = kind.start();
        let mut client = engine.client();
        define(&mut client, "note", FAIL);
        add(&mut client, "t note KEYS k* EVENTS set");
        run_all(&mut client, &["SET k1 v", "SET k1 w"]);
        until_count(&mut client, "t", "failures", |failures| failures > 0);
        assert_eq!(client.run("HLEN ferrite:events"), Reply::Int(2));
        replace(&mut client, "note", NOTE);
        for value in ["v", "w"] {
            let event = next_event(&mut client);
            assert!(event.ends_with(&format!("|string|{value}|t")), "{event}");
        }
        until_count(&mut client, "t", "pending", |pending| pending == 0);
        assert_eq!(client.run("EXISTS ferrite:events"), Reply::Int(0));
        let info = client.run("WASM.TRIGGER INFO t");
        let error = info.at("last_error").and_then(Reply::text);
        assert!(
            error.is_some_and(|error| error.starts_with("TRAP ")),
            "{kind:?}: {info:?}"
        );
    }
}

#[test]
fn a_loop_ends_at_its_depth_and_its_event_is_kept() {
    for kind in EngineKind::ends_here() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut engine = durable(kind, dir.path());
        let mut client = engine.client();
        define(&mut client, "loop", LOOP);
        add(&mut client, "t loop KEYS k EVENTS set");
        run_all(&mut client, &["SET k v"]);
        until_count(&mut client, "t", "given_up", |given_up| given_up == 1);
        until_count(&mut client, "t", "pending", |pending| pending == 0);
        assert_eq!(count(&mut client, "t", "delivered"), 8, "{kind:?}");
        engine.kill();
        let engine = durable(kind, dir.path());
        let mut client = engine.client();
        let dead = until(&mut client, &["WASM.TRIGGER", "INFO", "t"], |info| {
            let dead = info.at("dead").and_then(Reply::elements);
            dead.is_some_and(|dead| dead.len() == 1)
        });
        let dead = dead.at("dead").and_then(Reply::elements).expect("a list");
        let error = dead[0].at("error").and_then(Reply::text);
        assert!(
            error.is_some_and(|error| error.starts_with("LIMIT 8 events in a row")),
            "{dead:?}"
        );
        // Tried again, it goes round as often, and is given up again.
        assert_eq!(client.run("WASM.TRIGGER RETRY t"), Reply::Int(1));
        until_count(&mut client, "t", "given_up", |given_up| given_up == 1);
        until_count(&mut client, "t", "pending", |pending| pending == 0);
        assert_eq!(client.run("WASM.TRIGGER DEL t"), ok());
        assert_eq!(client.run("WASM.TRIGGER LIST"), Reply::Array(Vec::new()));
        assert_eq!(client.run("EXISTS ferrite:events"), Reply::Int(0));
        run_all(&mut client, &["SET k v"]);
    }
}

/// Acknowledged events are delivered although the server is killed, and a delivery's writes are there once.
#[test]
fn a_kill_neither_loses_nor_doubles_an_event() {
    for kind in EngineKind::ends_here() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut answered = 0;
        for round in 0..3 {
            let mut engine = durable(kind, dir.path());
            let mut client = engine.client();
            if round == 0 {
                define(&mut client, "note", NOTE);
                add(&mut client, "t note KEYS k:* EVENTS set");
            }
            for _ in 0..40 {
                assert_eq!(
                    client.run(&format!("SET k:{} {answered}", answered % 3)),
                    ok()
                );
                answered += 1;
            }
            engine.kill();
        }
        let engine = durable(kind, dir.path());
        let mut client = engine.client();
        while client.run("EXISTS ferrite:events") != Reply::Int(0) {}
        let notes = client.run("LRANGE log 0 -1");
        let notes = notes.elements().expect("a list").iter();
        let notes: Vec<_> = notes.filter_map(Reply::text).collect();
        for key in 0..3 {
            let of_key = notes
                .iter()
                .filter(|note| note.starts_with(&format!("k:{key}|")));
            let values: Vec<i64> = of_key
                .filter_map(|note| note.split('|').nth(5)?.parse().ok())
                .collect();
            let expected: Vec<i64> = (0..answered).filter(|value| value % 3 == key).collect();
            assert_eq!(values, expected, "{kind:?}, k:{key}");
        }
    }
}

/// Reads the commands of the append-only file, in lower case, each as one line.
fn appended(dir: &Path) -> Vec<String> {
    let folder = std::fs::read_dir(dir.join("appendonlydir")).expect("the folder of the file");
    let files = folder.map(|file| file.expect("a file").path());
    let file = files
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .max();
    let bytes = std::fs::read(file.expect("a file")).expect("its content");
    let mut lines = String::from_utf8_lossy(&bytes).into_owned();
    lines.make_ascii_lowercase();
    let mut commands: Vec<String> = Vec::new();
    for line in lines.split("\r\n") {
        match line.as_bytes().first() {
            Some(b'*') => commands.push(String::new()),
            Some(b'$') | None => {}
            Some(_) => {
                if let Some(command) = commands.last_mut() {
                    command.push_str(line);
                    command.push(' ');
                }
            }
        }
    }
    commands
}

/// Returns true if commands that begin like this stand in one transaction.
fn together(commands: &[String], wanted: [&str; 2]) -> bool {
    commands.split(|one| one == "exec ").any(|unit| {
        let start = unit.iter().position(|one| one == "multi ");
        start.is_some_and(|start| {
            let inside = &unit[start..];
            wanted
                .iter()
                .all(|wanted| inside.iter().any(|one| one.starts_with(wanted)))
        })
    })
}

#[test]
fn a_change_and_its_event_are_one_unit_and_so_is_a_delivery() {
    for kind in EngineKind::here() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let engine = durable(kind, dir.path());
        let mut client = engine.client();
        define(&mut client, "note", NOTE);
        add(&mut client, "t note KEYS k* EVENTS set expired");
        run_all(&mut client, &["SET k1 v", "SET other x", "SET k2 v PX 1"]);
        while client.run("LLEN log") != Reply::Int(3) {}
        let commands = appended(dir.path());
        for (change, queue) in [
            ("set k1 ", "hset ferrite:events "),
            ("del k2 ", "hset ferrite:events "),
            ("rpush log ", "hdel ferrite:events "),
        ] {
            // A server may unlink what has expired.
            let unlinks = change.replace("del", "unlink");
            // Redis 7.0 sends the event and the end of the key one after the other.
            let follows = commands
                .windows(2)
                .any(|pair| pair[0].starts_with(queue) && pair[1].starts_with(change));
            assert!(
                together(&commands, [change, queue])
                    || together(&commands, [&unlinks, queue])
                    || kind == EngineKind::Redis && follows,
                "{kind:?} {change}: {commands:#?}"
            );
        }
        assert!(!together(&commands, ["set other ", "hset "]), "{kind:?}");
    }
}

/// Writes are never held up here: what does not fit is counted, and the rest is kept.
#[test]
fn more_events_than_may_wait_are_lost_and_told() {
    for kind in EngineKind::ends_here() {
        let engine = kind.start();
        let mut client = engine.client();
        define(&mut client, "note", FAIL);
        add(&mut client, "t note KEYS k EVENTS set");
        let many = "for i=1,100003 do redis.call('SET',KEYS[1],i) end";
        assert_eq!(client.call(&["EVAL", many, "1", "k"]), Reply::Null);
        assert_eq!(client.run("GET k").text(), Some("100003"));
        assert_eq!(count(&mut client, "t", "given_up"), 3, "{kind:?}");
        assert_eq!(count(&mut client, "t", "pending"), 100_000, "{kind:?}");
        assert_eq!(client.run("HLEN ferrite:events"), Reply::Int(100_000));
        assert_eq!(client.run("WASM.TRIGGER DEL t"), ok());
        assert_eq!(client.run("EXISTS ferrite:events"), Reply::Int(0));
    }
}

#[test]
fn what_is_not_possible_here_is_refused() {
    for kind in EngineKind::here() {
        let engine = kind.start();
        let mut client = engine.client();
        define(&mut client, "note", NOTE);
        for (line, part) in [
            (
                "WASM.TRIGGER ADD t note KEYS a EVENTS set BEFORE",
                "INVALID BEFORE: this server cannot let a function refuse a write",
            ),
            (
                "WASM.TRIGGER ADD t other KEYS a EVENTS set",
                "NOFUNC no function \"other\"",
            ),
            ("WASM.TRIGGER INFO t", "there is no trigger \"t\""),
        ] {
            let reply = client.run(line);
            assert!(
                reply.error().is_some_and(|error| error.contains(part)),
                "{kind:?} {line}: {reply:?}"
            );
        }
        add(&mut client, "t note KEYS a EVENTS set");
        let twice = client.run("WASM.TRIGGER ADD t note KEYS a EVENTS set");
        assert!(
            twice
                .error()
                .is_some_and(|error| error.starts_with("EXISTS ")),
            "{kind:?}: {twice:?}"
        );
    }
}
