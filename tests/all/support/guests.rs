//! Small guests in the text format.

/// Flags of a server with limits that no call reaches.
pub(crate) const LONG_CALLS: [&str; 4] = [
    "--wasm-limits-max-fuel",
    "1000000000000000",
    "--wasm-limits-max-time",
    "1h",
];

/// A scalar: adds one.
pub(crate) const ADD1: &str = r#"(module
  (func (export "run") (param i32) (result i32)
    local.get 0 i32.const 1 i32.add))"#;

/// A scalar that never ends.
pub(crate) const ENDLESS: &str = r#"(module (func (export "run") (loop $again (br $again))))"#;

/// A command that adds 1 to its first key and replies with the sum.
pub(crate) const COUNT: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (memory (export "memory") 1)
  (func (export "run")
    (local $status i32)
    (local.set $status (call $incr_by
      (i32.const 64)
      (call $key (i32.const 0) (i32.const 64) (i32.const 256))
      (i64.const 1)
      (i32.const 0)))
    (if (local.get $status)
      (then (call $reply_int (i64.extend_i32_s (local.get $status))))
      (else (call $reply_int (i64.load (i32.const 0)))))))"#;

/// A command that writes its first key to "x" and then loops for ever.
pub(crate) const WRITE_THEN_LOOP: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x")
  (func (export "run")
    (drop (call $set
      (i32.const 64)
      (call $key (i32.const 0) (i32.const 64) (i32.const 256))
      (i32.const 0) (i32.const 1) (i32.const 0) (i64.const -1)))
    (loop $again (br $again))))"#;

/// A command that replies with its first key, first argument and their counts, as a map.
pub(crate) const MIRROR: &str = r#"(module
  (import "ferrite" "key_count" (func $key_count (result i32)))
  (import "ferrite" "arg_count" (func $arg_count (result i32)))
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "reply_map" (func $reply_map (param i32)))
  (import "ferrite" "reply_bulk" (func $reply_bulk (param i32 i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "keyskeyargsarg")
  (func (export "run")
    (call $reply_map (i32.const 4))
    (call $reply_bulk (i32.const 0) (i32.const 4))
    (call $reply_int (i64.extend_i32_u (call $key_count)))
    (call $reply_bulk (i32.const 7) (i32.const 4))
    (call $reply_int (i64.extend_i32_u (call $arg_count)))
    (call $reply_bulk (i32.const 4) (i32.const 3))
    (call $reply_bulk (i32.const 64)
      (call $key (i32.const 0) (i32.const 64) (i32.const 4096)))
    (call $reply_bulk (i32.const 11) (i32.const 3))
    (call $reply_bulk (i32.const 64)
      (call $arg (i32.const 0) (i32.const 64) (i32.const 4096)))))"#;

/// A command that replies once with a value of every type, in an array.
pub(crate) const EVERY_TYPE: &str = r#"(module
  (import "ferrite" "reply_array" (func $reply_array (param i32)))
  (import "ferrite" "reply_null" (func $reply_null))
  (import "ferrite" "reply_bool" (func $reply_bool (param i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (import "ferrite" "reply_double" (func $reply_double (param f64)))
  (import "ferrite" "reply_simple" (func $reply_simple (param i32 i32)))
  (import "ferrite" "reply_bulk" (func $reply_bulk (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "FINE\00\0d\0a")
  (func (export "run")
    (call $reply_array (i32.const 6))
    (call $reply_null)
    (call $reply_bool (i32.const 1))
    (call $reply_int (i64.const -7))
    (call $reply_double (f64.const 0.5))
    (call $reply_simple (i32.const 0) (i32.const 4))
    (call $reply_bulk (i32.const 0) (i32.const 7))))"#;

/// A scalar that grows its memory by the given number of pages, and traps if it cannot.
pub(crate) const GROW: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "run") (param i32) (result i32)
    (local $before i32)
    (local.set $before (memory.grow (local.get 0)))
    (if (i32.eq (local.get $before) (i32.const -1)) (then unreachable))
    (local.get $before)))"#;

/// A scalar that calls itself for ever.
pub(crate) const RECURSE: &str = r#"(module
  (func $down (export "run") (param i32) (result i32)
    (i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (i32.const 1))))"#;

/// Sleeps longer than its call may take; its entry `quick` does not.
pub(crate) const SLEEP: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run")
    (i32.store (i32.const 272) (i32.const 1))
    (i64.store (i32.const 280) (i64.const 1000000000000000))
    (drop (call $poll (i32.const 256) (i32.const 1024) (i32.const 1) (i32.const 512))))
  (func (export "quick") (result i32) (i32.const 7)))"#;
