//! Scratch directories that stay, on every host, and in transactions that others commit.

use ferrite_tests::{Client, EngineKind, Reply, Server};

use crate::engines::until;

/// `append` adds its first argument to a file and replies with the file, or the error; `both` also writes
/// the argument to its key, and `note` adds one letter. `read` replies with the file.
const FILES: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (import "ferrite" "reply_bulk" (func $reply_bulk (param i32 i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  ;; 0: descriptor; 8: a vector at 8192; 16: count; 24: a vector at 1024
  (data (i32.const 8) "\00\20\00\00\00\20\00\00")
  (data (i32.const 24) "\00\04\00\00\01\00\00\00")
  (data (i32.const 512) "f")
  (data (i32.const 1024) "n")
  (func $open (param $flags i32) (param $rights i64) (result i32)
    (call $path_open (i32.const 3) (i32.const 1) (i32.const 512) (i32.const 1)
      (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 1) (i32.const 0)))
  (func $content (param $errno i32)
    (if (local.get $errno)
      (then (call $reply_int (i64.extend_i32_u (local.get $errno))))
      (else
        (drop (call $fd_pread (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i64.const 0)
          (i32.const 16)))
        (call $reply_bulk (i32.const 8192) (i32.load (i32.const 16))))))
  (func $add (result i32) (local $errno i32)
    (local.set $errno (call $open (i32.const 1) (i64.const 66)))
    (if (i32.eqz (local.get $errno))
      (then (local.set $errno
        (call $fd_write (i32.load (i32.const 0)) (i32.const 24) (i32.const 1) (i32.const 16)))))
    (local.get $errno))
  (func $take_arg
    (i32.store (i32.const 28) (call $arg (i32.const 0) (i32.const 1024) (i32.const 1024))))
  (func (export "append") (call $take_arg) (call $content (call $add)))
  (func (export "both")
    (call $take_arg)
    (drop (call $set (i32.const 4096) (call $key (i32.const 0) (i32.const 4096) (i32.const 1024))
      (i32.const 1024) (i32.load (i32.const 28)) (i32.const 0) (i64.const -1)))
    (call $content (call $add)))
  (func (export "note") (drop (call $add)))
  (func (export "read") (call $content (call $open (i32.const 0) (i64.const 2)))))"#;

/// Refuses every write that it is asked about.
const REFUSE: &str = r#"(module
  (import "ferrite" "reply_error" (func $reply_error (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "REFUSED")
  (func (export "run") (call $reply_error (i32.const 0) (i32.const 7))))"#;

const OFFERED: [&str; 2] = ["--wasm-security-allow-filesystem", "cache:kept=64KB"];

fn define(client: &mut Client) {
    let permissions = r#"{"allow_write": true, "allow_filesystem": ["cache"]}"#;
    let reply = client.call(&["WASM.DEFINE", "f", FILES, "PERMISSIONS", permissions]);
    assert!(reply.text().is_some(), "{reply:?}");
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

/// Error of a directory that can only be read, as WASI numbers it, and of a file that is not there.
const READ_ONLY: Reply = Reply::Int(69);
const MISSING: Reply = Reply::Int(44);

#[test]
fn a_transaction_of_a_client_only_reads_them() {
    let server = Server::builder().arguments(&OFFERED).start();
    let mut client = server.client();
    define(&mut client);
    client.run("MULTI");
    client.run("WASM.CALL f.append ARGS a");
    assert_eq!(client.run("EXEC"), Reply::Array(vec![READ_ONLY]));
    assert_eq!(client.run("WASM.CALL f.read"), MISSING);
    assert_eq!(client.run("WASM.CALL f.append ARGS a"), bulk("a"));
    assert_eq!(client.run("WASM.CALL_RO f.append ARGS b"), READ_ONLY);
    assert_eq!(client.run("WASM.CALL f.read"), bulk("a"));
}

/// A call whose writes triggers may refuse commits its files with them, and so does that of a trigger.
#[test]
fn they_are_committed_with_what_triggers_decide() {
    let server = Server::builder().arguments(&OFFERED).start();
    let mut client = server.client();
    define(&mut client);
    let refusing = client.call(&["WASM.DEFINE", "refuse", REFUSE]);
    assert!(refusing.text().is_some(), "{refusing:?}");
    let ok = Reply::Simple("OK".into());
    let added = client.run("WASM.TRIGGER ADD guard refuse KEYS bad* EVENTS set BEFORE");
    assert_eq!(added, ok);
    assert_eq!(client.run("WASM.CALL f.both KEYS good ARGS a"), bulk("a"));
    let refused = client.run("WASM.CALL f.both KEYS bad ARGS b");
    assert_eq!(refused.error(), Some("REFUSED"));
    assert_eq!(client.run("WASM.CALL f.read"), bulk("a"));
    assert_eq!(client.run("WASM.CALL f.append ARGS c"), bulk("ac"));

    let added = client.run("WASM.TRIGGER ADD after f.note KEYS seen EVENTS set AFTER");
    assert_eq!(added, ok);
    assert_eq!(client.run("SET seen 1"), ok);
    let read = ["WASM.CALL", "f.read"];
    until(&mut client, &read, |reply| *reply == bulk("acn"));
}

#[test]
fn they_stay_in_engines_and_in_front_of_them() {
    for kind in EngineKind::ends_here() {
        let engine = kind
            .builder()
            .module(&["allow-filesystem", "cache:kept=64KB"])
            .start();
        let mut client = engine.client();
        define(&mut client);
        assert_eq!(client.run("WASM.CALL f.append ARGS a"), bulk("a"));
        assert_eq!(client.run("WASM.CALL f.both KEYS k ARGS b"), bulk("ab"));
        assert_eq!(client.call(&["GET", "k"]).text(), Some("b"));
    }
    for kind in EngineKind::unmodified_here() {
        let engine = kind.builder().unmodified().start();
        let url = format!("redis://{}", engine.address());
        let server = Server::builder()
            .arguments(&OFFERED)
            .arguments(&["--upstream", &url])
            .start();
        let mut client = server.client();
        define(&mut client);
        assert_eq!(client.run("WASM.CALL f.append ARGS a"), bulk("a"));
        assert_eq!(client.run("WASM.CALL f.both KEYS k ARGS b"), bulk("ab"));
        assert_eq!(client.call(&["GET", "k"]).text(), Some("b"));
        assert_eq!(client.run("WASM.CALL_RO f.append ARGS c"), READ_ONLY);
    }
}
