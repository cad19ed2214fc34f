//! The server in front of unmodified engines, which hold the data.

mod all_keys;
mod bad_engines;
mod calls;
pub(crate) mod cluster;
mod concurrent;
mod failover;
mod faults;
mod functions;
mod passed_on;
mod round_trips;
mod secured;
mod sentinel;
mod several_servers;
mod sizes;

use ferrite_tests::{Client, Engine, EngineKind, Server, ServerBuilder};

/// Functions that may write every key.
const READ_WRITE: &str = r#"{"allowed_keys":["*"],"allow_write":true}"#;

/// Each operation on data as an entry.
const OPS: &str = include_str!("../engines/ops.wat");

/// Adds to the integer at its key.
const COUNT: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (memory (export "memory") 1)
  (func (export "run") (local $status i32)
    (local.set $status
      (call $incr_by (i32.const 64) (call $key (i32.const 0) (i32.const 64) (i32.const 256)) (i64.const 1) (i32.const 0)))
    (call $reply_int (select (i64.load (i32.const 0)) (i64.extend_i32_s (local.get $status))
      (i32.eqz (local.get $status))))))"#;

/// Adds to the integer at the key `tally`, which no call declares.
const TALLY: &str = r#"(module
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (memory (export "memory") 1)
  (data (i32.const 64) "tally")
  (func (export "run")
    (drop (call $incr_by (i32.const 64) (i32.const 5) (i64.const 1) (i32.const 0)))
    (call $reply_int (i64.load (i32.const 0)))))"#;

/// Starts an engine without a module.
fn engine(kind: EngineKind) -> Engine {
    kind.builder().unmodified().start()
}

/// Prepares a server in front of an engine.
fn before(engine: &Engine) -> ServerBuilder {
    let url = format!("redis://{}", engine.address());
    Server::builder().arguments(&["--upstream", &url])
}

/// Defines a function that may write.
fn define(client: &mut Client, name: &str, source: &str) {
    let reply = client.call(&[
        "WASM.DEFINE",
        name,
        source,
        "PERMISSIONS",
        READ_WRITE,
        "REPLACE",
    ]);
    let defined = reply.text().is_some_and(|text| text.starts_with("blake3:"));
    assert!(defined, "{name} was not defined: {reply:?}");
}

/// Runs `test` with every kind of engine that is here.
fn on_each(test: impl Fn(EngineKind)) {
    for kind in EngineKind::unmodified_here() {
        test(kind);
    }
}
