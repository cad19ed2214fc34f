//! A scratch directory: files that a call writes, that nobody else sees, and that go with it.

use ferrite_runtime::RuntimeOptions;
use ferrite_runtime::policy::files::directory::Directory;
use ferrite_runtime::policy::function_spec::Isolation;

use crate::support::{Host, TestFunction};

/// `flow` goes through the life of a file. `create PATH` creates one, `fill` writes one until there is no
/// room, `directories` makes directories until there is none, and `steal` opens the first descriptor that a
/// call before has had.
const GUEST: &str = r#"(module
    (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
    (import "ferrite" "reply_int" (func $reply_int (param i64)))
    (import "ferrite" "reply_bulk" (func $reply_bulk (param i32 i32)))
    (import "ferrite" "reply_array" (func $reply_array (param i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pread"
        (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pwrite"
        (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_sync" (func $fd_sync (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_size"
        (func $set_size (param i32 i64) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory"
        (func $mkdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_remove_directory"
        (func $rmdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file"
        (func $unlink (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename"
        (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get"
        (func $path_stat (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 3)
    ;; 0: descriptor; 8: a vector of 60,000 bytes at 65536; 16: count; 24: position; 32: "hello";
    ;; 40: a vector of it; 48: a vector of its second letter; 64: stat; 1024: path
    (data (i32.const 8) "\00\00\01\00\60\ea\00\00")
    (data (i32.const 32) "hello")
    (data (i32.const 40) "\20\00\00\00\05\00\00\00\21\00\00\00\01\00\00\00")
    (data (i32.const 512) "fdd/g")
    (func $open (param $path i32) (param $len i32) (param $flags i32) (param $append i32) (result i32)
        (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (local.get $len)
            (local.get $flags) (i64.const 66) (i64.const 0) (local.get $append) (i32.const 0)))
    (func $fd (result i32) (i32.load (i32.const 0)))
    (func $told (param $errno i32) (call $reply_int (i64.extend_i32_u (local.get $errno))))
    ;; Replies with the file from its start on.
    (func $content
        (drop (call $fd_pread (call $fd) (i32.const 8) (i32.const 1) (i64.const 0) (i32.const 16)))
        (call $reply_bulk (i32.const 65536) (i32.load (i32.const 16))))
    (func (export "flow")
        (call $reply_array (i32.const 13))
        ;; It is new, so it must not exist.
        (call $told (call $open (i32.const 512) (i32.const 1) (i32.const 5) (i32.const 0)))
        (call $told (call $fd_write (call $fd) (i32.const 40) (i32.const 1) (i32.const 16)))
        (call $told (call $fd_pwrite (call $fd) (i32.const 48) (i32.const 1) (i64.const 0) (i32.const 16)))
        (call $told (call $fd_sync (call $fd)))
        (drop (call $fd_seek (call $fd) (i64.const 1) (i32.const 0) (i32.const 24)))
        (drop (call $fd_read (call $fd) (i32.const 8) (i32.const 1) (i32.const 16)))
        (call $reply_bulk (i32.const 65536) (i32.load (i32.const 16)))
        (drop (call $fd_close (call $fd)))
        (call $told (call $open (i32.const 512) (i32.const 1) (i32.const 5) (i32.const 0)))
        (call $told (call $mkdir (i32.const 3) (i32.const 513) (i32.const 1)))
        (call $told (call $rename (i32.const 3) (i32.const 512) (i32.const 1)
            (i32.const 3) (i32.const 514) (i32.const 3)))
        ;; What is written goes to the end.
        (call $told (call $open (i32.const 514) (i32.const 3) (i32.const 0) (i32.const 1)))
        (drop (call $fd_write (call $fd) (i32.const 40) (i32.const 1) (i32.const 16)))
        (call $content)
        (drop (call $set_size (call $fd) (i64.const 3)))
        (call $content)
        (call $told (call $rmdir (i32.const 3) (i32.const 513) (i32.const 1)))
        (drop (call $unlink (i32.const 3) (i32.const 514) (i32.const 3)))
        (call $told (call $rmdir (i32.const 3) (i32.const 513) (i32.const 1))))
    (func (export "create")
        (call $told (call $path_open (i32.const 3) (i32.const 1)
            (i32.const 1024) (call $arg (i32.const 0) (i32.const 1024) (i32.const 60000))
            (i32.const 5) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 0))))
    (func (export "mkdir")
        (call $told (call $mkdir (i32.const 3)
            (i32.const 1024) (call $arg (i32.const 0) (i32.const 1024) (i32.const 60000)))))
    (func (export "move") (local $len i32)
        (drop (call $open (i32.const 512) (i32.const 1) (i32.const 1) (i32.const 0)))
        (local.set $len (call $arg (i32.const 0) (i32.const 1024) (i32.const 60000)))
        (call $told (call $rename (i32.const 3) (i32.const 512) (i32.const 1)
            (i32.const 3) (i32.const 1024) (local.get $len))))
    (func (export "fill") (local $errno i32) (local $count i64)
        (drop (call $open (i32.const 512) (i32.const 1) (i32.const 1) (i32.const 0)))
        (loop $again
            (local.set $errno (call $fd_write (call $fd) (i32.const 8) (i32.const 1) (i32.const 16)))
            (if (i32.eqz (local.get $errno))
                (then
                    (local.set $count (i64.add (local.get $count) (i64.const 1)))
                    (br $again))))
        (call $reply_array (i32.const 3))
        (call $reply_int (local.get $count))
        (call $told (local.get $errno))
        (call $told (call $fd_pwrite (call $fd) (i32.const 40) (i32.const 1)
            (i64.const 9000000000000000000) (i32.const 16))))
    (func (export "directories") (local $errno i32) (local $count i64)
        (loop $again
            (i64.store (i32.const 1024) (i64.add (i64.const 0x3030303030303030)
                (i64.or (i64.and (local.get $count) (i64.const 15))
                    (i64.or (i64.shl (i64.and (local.get $count) (i64.const 240)) (i64.const 4))
                        (i64.shl (i64.and (local.get $count) (i64.const 65280)) (i64.const 8))))))
            (local.set $errno (call $mkdir (i32.const 3) (i32.const 1024) (i32.const 4)))
            (if (i32.eqz (local.get $errno))
                (then
                    (local.set $count (i64.add (local.get $count) (i64.const 1)))
                    (br $again))))
        (call $reply_array (i32.const 2))
        (call $reply_int (local.get $count))
        (call $told (local.get $errno)))
    (func (export "steal")
        (i32.store (i32.const 0) (i32.const 4))
        (call $reply_array (i32.const 2))
        (call $told (call $fd_read (call $fd) (i32.const 8) (i32.const 1) (i32.const 16)))
        (call $told (call $path_stat (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 1) (i32.const 64)))))"#;

/// A function with a scratch directory of this size.
fn with_scratch(isolation: Isolation, bytes_max: u64) -> (Host, TestFunction) {
    let directories = vec![Directory::scratch("tmp", bytes_max).expect("a name")];
    let host = Host::with_runtime(RuntimeOptions {
        directories: directories.clone(),
        ..RuntimeOptions::default()
    });
    let function = host.load_with(GUEST, |spec| {
        spec.directories = directories.into();
        spec.isolation = isolation;
        spec.limits.fuel_max = 1_000_000_000;
    });
    (host, function)
}

async fn call((host, function): &(Host, TestFunction), entry: &str, arg: &str) -> String {
    let name = format!("test.{entry}");
    let args = [arg.as_bytes()];
    let request = ferrite_runtime::CallRequest::new(name.as_bytes(), &[], &args);
    let protocol = ferrite_protocol::resp::Protocol::Resp2;
    host.request(protocol, function, &request).await.0
}

#[tokio::test]
async fn a_file_is_written_moved_and_gone_with_its_call() {
    for isolation in [Isolation::Rewind, Isolation::Fresh, Isolation::Reuse] {
        let scratch = with_scratch(isolation, 1 << 20);
        for _ in 0..2 {
            assert_eq!(
                call(&scratch, "flow", "").await,
                "*13 :0 :0 :0 :0 $4 ello :20 :0 :0 :0 $10 eellohello $3 eel :55 :0",
                "{isolation:?}"
            );
        }
        assert_eq!(call(&scratch, "create", "f").await, ":0");
        assert_eq!(call(&scratch, "steal", "").await, "*2 :8 :44");
        assert_eq!(call(&scratch, "create", "f").await, ":0");
    }
}

#[tokio::test]
async fn no_path_leads_out() {
    let scratch = with_scratch(Isolation::Rewind, 1 << 20);
    let outside = std::env::temp_dir().join("ferrite-scratch-escape");
    for path in [
        "../x",
        "/x",
        "/tmp/ferrite-scratch-escape",
        "../../tmp/ferrite-scratch-escape",
        "..",
        "/",
        "./../x",
        "a/../../x",
        "x\0",
        "",
        &"a".repeat(300),
        &"a/".repeat(2100),
    ] {
        for entry in ["create", "mkdir", "move"] {
            let reply = call(&scratch, entry, path).await;
            let errno = reply.strip_prefix(':').and_then(|it| it.parse().ok());
            assert!(errno > Some(0_u32), "{entry} {path}: {reply}");
        }
    }
    assert_eq!(call(&scratch, "create", "../x").await, ":76");
    assert!(!outside.exists());
}

#[tokio::test]
async fn bytes_and_names_are_bounded() {
    let scratch = with_scratch(Isolation::Rewind, 200_000);
    assert_eq!(call(&scratch, "fill", "").await, "*3 :3 :51 :51");
    // Nothing of it counts for the next call.
    assert_eq!(call(&scratch, "fill", "").await, "*3 :3 :51 :51");
    assert_eq!(call(&scratch, "directories", "").await, "*2 :769 :51");
    let large = with_scratch(Isolation::Rewind, 1 << 30);
    assert_eq!(call(&large, "directories", "").await, "*2 :4095 :51");
}

#[tokio::test]
async fn writing_costs_fuel_by_its_bytes() {
    let (host, _) = with_scratch(Isolation::Rewind, 1000);
    let directories = vec![Directory::scratch("tmp", 1 << 30).expect("a name")];
    let function = host.load_with(GUEST, |spec| {
        spec.directories = directories.into();
        spec.limits.fuel_max = 1_000_000;
    });
    let reply = call(&(host, function), "fill", "").await;
    assert!(reply.starts_with("-FUEL "), "{reply}");
}
