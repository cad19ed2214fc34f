//! The same inside Valkey and Redis, where events are in the server's data.

mod cluster;
mod declared;
mod moving;
mod replicas;
mod schedules;
mod triggers;
mod whole_slots;

use std::path::Path;

use ferrite_tests::{Client, Engine, EngineKind, Reply};

use super::{READ_WRITE, next_note, ok};
use crate::engines::until;

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

/// Starts a server that keeps its data in `dir`, and answers once they are on disk.
fn durable(kind: EngineKind, dir: &Path) -> Engine {
    let arguments = ["--appendonly", "yes", "--appendfsync", "always"];
    kind.builder().arguments(&arguments).dir(dir).start()
}

/// Defines a function, in the place of one of the same name.
fn replace(client: &mut Client, name: &str, source: &str) {
    let words = ["WASM.DEFINE", name, source, "PERMISSIONS", READ_WRITE];
    let reply = client.call(&[&words[..], &["REPLACE"]].concat());
    assert!(reply.text().is_some(), "{name} was not defined: {reply:?}");
}

/// Waits for the next note, without the parts that differ from run to run: number, attempt, time.
fn next_event(client: &mut Client) -> String {
    let note = next_note(client);
    let mut parts: Vec<&str> = note.split('|').collect();
    parts.truncate(parts.len().saturating_sub(3));
    parts.join("|")
}

/// A figure of a trigger.
fn count(client: &mut Client, name: &str, field: &str) -> i64 {
    let info = client.call(&["WASM.TRIGGER", "INFO", name]);
    let value = info.at(field).and_then(Reply::int);
    value.unwrap_or_else(|| panic!("no {field} in {info:?}"))
}

/// Waits until a figure of a trigger is as wanted.
fn until_count(client: &mut Client, name: &str, field: &str, wanted: impl Fn(i64) -> bool) {
    until(client, &["WASM.TRIGGER", "INFO", name], |info| {
        info.at(field).and_then(Reply::int).is_some_and(&wanted)
    });
}

/// Waits until an event was delivered that is tried again or, on a slow machine, was given up before its function
/// was mended.
fn until_delivered(client: &mut Client, name: &str) {
    until(client, &["WASM.TRIGGER", "RETRY", name], |retried| {
        retried.error().is_none()
    });
    until_count(client, name, "delivered", |delivered| delivered == 1);
}

/// Returns true if one event waits or, on a slow machine, was given up.
fn keeps_one(info: &Reply) -> bool {
    let dead = info.at("dead").and_then(Reply::elements).map(<[_]>::len);
    let pending = info.at("pending").and_then(Reply::int);
    matches!((pending, dead), (Some(1), Some(0)) | (Some(0), Some(1)))
}

/// Returns the old value that a server tells of a key that is gone: its type and the value.
fn gone(kind: EngineKind, value: &'static str) -> String {
    match kind {
        EngineKind::Redis => "unknown|".to_owned(),
        EngineKind::Valkey | EngineKind::Valkey8 | EngineKind::Redis8 => value.to_owned(),
    }
}

fn run_all(client: &mut Client, lines: &[&str]) {
    for line in lines {
        let reply = client.run(line);
        assert!(reply.error().is_none(), "{line}: {reply:?}");
    }
}

fn add(client: &mut Client, words: &str) {
    assert_eq!(client.run(&format!("WASM.TRIGGER ADD {words}")), ok());
}
