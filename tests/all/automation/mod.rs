//! Functions that run by themselves: by the clock, and before or after events of keys.

mod declared;
pub(crate) mod delivery;
mod engines;
mod examples;
mod guards;
mod schedules;
mod serial;
mod triggers;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ferrite_tests::{Client, Reply, Server};

const READ_WRITE: &str = r#"{"allowed_keys":["*"],"allow_write":true}"#;

/// Appends its first key and its arguments, joined by `|`, to the list `log`.
const NOTE: &str = r#"(module
  (import "ferrite" "key_count" (func $key_count (result i32)))
  (import "ferrite" "arg_count" (func $arg_count (result i32)))
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "RPUSH")
  (data (i32.const 16) "*2\0d\0a$3\0d\0alog\0d\0a$")
  (func (export "run")
    (local $to i32) (local $at i32) (local $length i32) (local $unit i32)
    (local.set $to (i32.const 65536))
    (if (call $key_count) (then (local.set $to (i32.add (local.get $to)
      (call $key (i32.const 0) (local.get $to) (i32.const 4096))))))
    (block $done (loop $more
      (br_if $done (i32.ge_u (local.get $at) (call $arg_count)))
      (i32.store8 (local.get $to) (i32.const 124))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $to (i32.add (local.get $to)
        (call $arg (local.get $at) (local.get $to) (i32.const 4096))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $more)))
    (local.set $length (i32.sub (local.get $to) (i32.const 65536)))
    (memory.copy (i32.const 1024) (i32.const 16) (i32.const 14))
    (local.set $to (i32.const 1038))
    (local.set $unit (i32.const 10000))
    (block $found (loop $smaller
      (br_if $found (i32.eq (local.get $unit) (i32.const 1)))
      (br_if $found (i32.ge_u (local.get $length) (local.get $unit)))
      (local.set $unit (i32.div_u (local.get $unit) (i32.const 10)))
      (br $smaller)))
    (loop $digit
      (i32.store8 (local.get $to) (i32.add (i32.const 48)
        (i32.rem_u (i32.div_u (local.get $length) (local.get $unit)) (i32.const 10))))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $unit (i32.div_u (local.get $unit) (i32.const 10)))
      (br_if $digit (local.get $unit)))
    (i32.store16 (local.get $to) (i32.const 0x0a0d))
    (memory.copy (i32.add (local.get $to) (i32.const 2)) (i32.const 65536) (local.get $length))
    (local.set $to (i32.add (local.get $to) (i32.add (i32.const 2) (local.get $length))))
    (i32.store16 (local.get $to) (i32.const 0x0a0d))
    (drop (call $call (i32.const 0) (i32.const 5) (i32.const 1024)
      (i32.sub (i32.add (local.get $to) (i32.const 2)) (i32.const 1024))
      (i32.const 0) (i32.const 0)))))"#;

/// Traps.
const FAIL: &str = r#"(module (func (export "run") unreachable))"#;

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

fn define(client: &mut Client, name: &str, source: &str) {
    let reply = client.call(&["WASM.DEFINE", name, source, "PERMISSIONS", READ_WRITE]);
    assert!(reply.text().is_some(), "{name} was not defined: {reply:?}");
}

/// Returns a module in text that declares these lines.
fn declaring(source: &str, lines: &str) -> String {
    let mut text = String::new();
    for letter in lines.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
    let section = format!("(module (@custom \"ferrite.automation\" \"{text}\")");
    source.replacen("(module", &section, 1)
}

/// Returns the names of all triggers or schedules, in their order.
fn names(client: &mut Client, command: &str) -> Vec<String> {
    let reply = client.call(&[command, "LIST"]);
    let list = reply.elements().expect("a list").iter();
    let name = |one: &Reply| {
        one.at("name")
            .or_else(|| one.at("id"))?
            .text()
            .map(str::to_owned)
    };
    list.filter_map(name).collect()
}

/// Starts a server that keeps its data in `dir` and answers writes once they are on disk.
fn durable(dir: &Path) -> Server {
    let config = "[store]\ndurability = \"always\"\nmin_free_space = \"1MB\"\n";
    Server::builder().dir(dir).config(config).start()
}

/// Sets a flag when it is dropped, so that threads end although a test fails.
struct Finish<'f>(&'f AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits for the next element of the list `log`, and takes it.
fn next_note(client: &mut Client) -> String {
    let reply = client.run("BLPOP log 60");
    let note = reply.elements().and_then(|pair| pair[1].text());
    note.unwrap_or_else(|| panic!("nothing was noted: {reply:?}"))
        .to_owned()
}
