//! Functions that are called before events of keys take effect, and may refuse them.

use ferrite_tests::{Client, Reply, Server};

use super::{FAIL, NOTE, define, next_note, ok};

/// Refuses a new value that begins with `!`.
const REFUSE: &str = r#"(module
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "reply_error" (func $reply_error (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "REFUSED the value begins with an exclamation mark")
  (func (export "run")
    (drop (call $arg (i32.const 4) (i32.const 100) (i32.const 100)))
    (if (i32.eq (i32.load8_u (i32.const 100)) (i32.const 33))
      (then (call $reply_error (i32.const 0) (i32.const 49))))))"#;

/// Writes its first argument to its first key.
const PUT: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "run")
    (drop (call $set (i32.const 0)
      (call $key (i32.const 0) (i32.const 0) (i32.const 256))
      (i32.const 512) (call $arg (i32.const 0) (i32.const 512) (i32.const 256))
      (i32.const 0) (i64.const -1)))))"#;

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn refused(reply: &Reply) -> bool {
    reply.error() == Some("REFUSED the value begins with an exclamation mark")
}

fn guarded(source: &str) -> (Server, Client) {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "guard", source);
    assert_eq!(
        client.run("WASM.TRIGGER ADD g guard KEYS k* EVENTS set append BEFORE"),
        ok()
    );
    (server, client)
}

#[test]
fn a_write_can_be_refused_however_it_is_made() {
    let (_server, mut client) = guarded(REFUSE);
    define(&mut client, "put", PUT);
    assert_eq!(client.run("SET k1 fine"), ok());
    assert!(refused(&client.run("SET k1 !")));
    assert!(refused(&client.run("MSET other x k2 !")));
    assert_eq!(client.run("EXISTS other k2"), Reply::Int(0));
    assert_eq!(client.run("WASM.CALL put KEYS k1 ARGS better"), ok());
    assert!(refused(&client.run("WASM.CALL put KEYS k1 ARGS !")));
    assert!(refused(&client.run("FCALL put 1 k1 !")));
    assert_eq!(client.run("MULTI"), ok());
    for line in ["SET other x", "SET k3 !", "SET k4 fine"] {
        assert_eq!(client.run(line), Reply::Simple("QUEUED".into()));
    }
    assert!(refused(&client.run("EXEC")));
    assert_eq!(client.run("EXISTS other k3 k4"), Reply::Int(0));
    assert_eq!(client.run("GET k1"), bulk("better"));
    // Keys without a trigger are left alone.
    assert_eq!(client.run("SET other !"), ok());
    let waits = client.run("BLPOP k5 1");
    assert!(
        waits
            .error()
            .is_some_and(|error| error.contains("may wait")),
        "{waits:?}"
    );
    assert_eq!(client.run("WASM.TRIGGER DEL g"), ok());
    assert_eq!(client.run("SET k1 !"), ok());
}

/// The function's writes are there together with the write itself.
#[test]
fn a_function_may_write_more() {
    let (_server, mut client) = guarded(NOTE);
    assert_eq!(client.run("SET k v"), ok());
    assert_eq!(client.run("LLEN log"), Reply::Int(1));
    let note = next_note(&mut client);
    assert!(note.starts_with("k|set|none||string|v|g|0|1|"), "{note}");
    assert_eq!(client.run("APPEND k w"), Reply::Int(2));
    let note = next_note(&mut client);
    assert!(note.starts_with("k|append|string|v|string|vw|g|"), "{note}");
}

#[test]
fn a_function_that_fails_refuses() {
    let (_server, mut client) = guarded(FAIL);
    let reply = client.run("SET k v");
    assert!(
        reply
            .error()
            .is_some_and(|error| error.starts_with("TRAP ")),
        "{reply:?}"
    );
    assert_eq!(client.run("EXISTS k"), Reply::Int(0));
}

/// Two clients count in one key, and each count is noted in the same transaction: no note is missing.
#[test]
fn writers_of_one_key_do_not_lose_each_other() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "note", NOTE);
    assert_eq!(
        client.run("WASM.TRIGGER ADD g note KEYS n EVENTS incrby BEFORE"),
        ok()
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..50 {
                    let reply = client.run("INCR n");
                    assert!(reply.int().is_some(), "{reply:?}");
                }
            });
        }
    });
    assert_eq!(client.run("GET n"), bulk("200"));
    let notes = client.run("LRANGE log 0 -1");
    let notes = notes
        .elements()
        .expect("a list")
        .iter()
        .filter_map(Reply::text);
    let values: Vec<_> = notes
        .map(|note| note.split('|').nth(5).map(str::to_owned))
        .collect();
    let expected: Vec<_> = (1..=200)
        .map(|value: i32| Some(value.to_string()))
        .collect();
    assert_eq!(values, expected);
}
