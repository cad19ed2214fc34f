//! Scratch directories that stay: a call finds what earlier calls of its function have committed.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::RuntimeOptions;
use ferrite_runtime::call::request::{CallRequest, OPTIMISTIC_TRIES_MAX};
use ferrite_runtime::policy::files::directory::Directory;
use ferrite_runtime::policy::files::kept::KeptFiles;
use ferrite_runtime::policy::function_spec::Isolation;

use crate::support::{Host, TestFunction};

/// `append` adds its argument to a file and replies with the whole of it; `trap` fails after that, and
/// `slow` takes several turns. `read` replies with the file, or the error. `fill` writes another file until
/// there is no room, and `leave` leaves one open that it has removed.
pub(crate) const GUEST: &str = r#"(module
    (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
    (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
    (import "ferrite" "reply_int" (func $reply_int (param i64)))
    (import "ferrite" "reply_bulk" (func $reply_bulk (param i32 i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pread"
        (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file"
        (func $unlink (param i32 i32 i32) (result i32)))
    (memory (export "memory") 3)
    ;; 0: descriptor; 8: a vector of 60,000 bytes at 65536; 16: count; 24: a vector of the argument
    (data (i32.const 8) "\00\00\01\00\60\ea\00\00")
    (data (i32.const 512) "fgn")
    (func $open (param $path i32) (param $flags i32) (param $rights i64) (result i32)
        (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (i32.const 1)
            (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 1) (i32.const 0)))
    (func $content
        (drop (call $fd_pread (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i64.const 0)
            (i32.const 16)))
        (call $reply_bulk (i32.const 65536) (i32.load (i32.const 16))))
    (func $append (result i32) (local $errno i32)
        (local.set $errno (call $open (i32.const 512) (i32.const 1) (i64.const 66)))
        (if (i32.eqz (local.get $errno))
            (then
                (i32.store (i32.const 24) (i32.const 1024))
                (i32.store (i32.const 28) (call $arg (i32.const 0) (i32.const 1024) (i32.const 60000)))
                (local.set $errno (call $fd_write (i32.load (i32.const 0)) (i32.const 24) (i32.const 1)
                    (i32.const 16)))))
        (local.get $errno))
    (func $told (param $errno i32)
        (if (local.get $errno)
            (then (call $reply_int (i64.extend_i32_u (local.get $errno))))
            (else (call $content))))
    (func (export "append") (call $told (call $append)))
    (func (export "trap") (drop (call $append)) unreachable)
    (func (export "count")
        (drop (call $incr_by (i32.const 514) (i32.const 1) (i64.const 1) (i32.const 32)))
        (call $told (call $append)))
    (func (export "count_slowly")
        (drop (call $incr_by (i32.const 514) (i32.const 1) (i64.const 1) (i32.const 32)))
        (call $slow))
    (func $slow (export "slow") (local $left i64)
        (drop (call $append))
        (local.set $left (i64.const 8000000))
        (loop $again
            (local.set $left (i64.sub (local.get $left) (i64.const 1)))
            (br_if $again (i64.ne (local.get $left) (i64.const 0))))
        (call $content))
    (func (export "read") (call $told (call $open (i32.const 512) (i32.const 0) (i64.const 2))))
    (func (export "fill") (local $count i64)
        (drop (call $open (i32.const 513) (i32.const 1) (i64.const 66)))
        (loop $again
            (if (i32.eqz (call $fd_write (i32.load (i32.const 0)) (i32.const 8) (i32.const 1)
                    (i32.const 16)))
                (then
                    (local.set $count (i64.add (local.get $count) (i64.const 1)))
                    (br $again))))
        (call $reply_int (local.get $count)))
    (func (export "leave")
        (drop (call $open (i32.const 513) (i32.const 1) (i64.const 66)))
        (drop (call $fd_write (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 16)))
        (call $reply_int (i64.extend_i32_u
            (call $unlink (i32.const 3) (i32.const 513) (i32.const 1))))))"#;

const SIZE: u64 = 200_000;

fn with_kept(isolation: Isolation) -> (Host, TestFunction) {
    with_instances(isolation, 64)
}

fn with_instances(isolation: Isolation, instances_max: usize) -> (Host, TestFunction) {
    let directories = vec![Directory::kept("cache", SIZE).expect("a name")];
    let host = Host::with_runtime(RuntimeOptions {
        directories: directories.clone(),
        ..RuntimeOptions::default()
    });
    let function = host.load_with(GUEST, |spec| {
        spec.directories = directories.into();
        spec.kept = Some(Arc::new(KeptFiles::default()));
        spec.isolation = isolation;
        spec.pool.instances_max = instances_max;
        spec.limits.fuel_max = 1_000_000_000;
    });
    (host, function)
}

async fn call((host, function): &(Host, TestFunction), entry: &str, arg: &str) -> String {
    let name = format!("test.{entry}");
    let args = [arg.as_bytes()];
    let request = CallRequest::new(name.as_bytes(), &[], &args);
    host.request(Protocol::Resp2, function, &request).await.0
}

/// Lets a call run until it waits, which it does several times before it is done.
async fn take_turn(mut call: Pin<&mut impl Future<Output = String>>) {
    let polled = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    assert_eq!(polled, Poll::Pending);
}

#[tokio::test]
async fn a_call_finds_what_earlier_ones_have_committed() {
    for isolation in [Isolation::Rewind, Isolation::Fresh, Isolation::Reuse] {
        let kept = with_kept(isolation);
        assert_eq!(call(&kept, "read", "").await, ":44", "there is none");
        assert_eq!(call(&kept, "append", "ab").await, "$2 ab");
        assert_eq!(call(&kept, "append", "c").await, "$3 abc");
        assert_eq!(call(&kept, "read", "").await, "$3 abc");
        // A call that fails leaves nothing.
        let reply = call(&kept, "trap", "d").await;
        assert!(reply.starts_with("-TRAP "), "{reply}");
        assert_eq!(call(&kept, "read", "").await, "$3 abc", "{isolation:?}");
    }
}

#[tokio::test]
async fn a_call_that_only_looks_changes_nothing() {
    let (host, function) = with_kept(Isolation::Rewind);
    let args = [&b"x"[..]];
    let request = CallRequest::new(b"test.append", &[], &args);
    for request in [
        CallRequest {
            read_only: true,
            ..request
        },
        CallRequest {
            profile: true,
            ..request
        },
    ] {
        let reply = host.request(Protocol::Resp2, &function, &request).await.0;
        let expected = if request.profile { "$1 x" } else { ":69" };
        assert_eq!(reply, expected);
    }
    let kept = (host, function);
    assert_eq!(call(&kept, "read", "").await, ":44");
}

#[tokio::test]
async fn its_bytes_are_bounded_over_all_calls() {
    let kept = with_kept(Isolation::Rewind);
    // What is open without a name goes with the call.
    for _ in 0..5 {
        assert_eq!(call(&kept, "leave", "").await, ":0");
    }
    assert_eq!(call(&kept, "fill", "").await, ":3");
    assert_eq!(call(&kept, "fill", "").await, ":0");
    assert_eq!(call(&kept, "append", &"x".repeat(20_000)).await, ":51");
    assert_eq!(call(&kept, "append", "y").await, "$1 y");
}

#[tokio::test]
async fn a_write_that_copies_a_file_costs_fuel_by_its_bytes() {
    let (host, function) = with_kept(Isolation::Rewind);
    let fuel = async |length: usize| {
        let arg = "x".repeat(length);
        let args = [arg.as_bytes()];
        let request = CallRequest::new(b"test.append", &[], &args);
        host.request(Protocol::Resp2, &function, &request)
            .await
            .1
            .fuel
    };
    let first = fuel(1).await;
    fuel(50_000).await;
    let later = fuel(1).await;
    // Reading all of it for the reply takes bytes too, once each.
    assert!(later > first + 2 * 50_000 / 16, "{first} {later}");
}

/// Of two calls at once, the one that commits later runs again on what the other has left.
#[tokio::test]
async fn a_call_that_is_overtaken_runs_again() {
    let kept = with_kept(Isolation::Rewind);
    let mut slow = pin!(call(&kept, "slow", "a"));
    take_turn(slow.as_mut()).await;
    assert_eq!(call(&kept, "append", "b").await, "$1 b");
    assert_eq!(slow.await, "$2 ba");
    // One that only reads is not disturbed, and disturbs nobody.
    let mut slow = pin!(call(&kept, "slow", "c"));
    take_turn(slow.as_mut()).await;
    assert_eq!(call(&kept, "read", "").await, "$2 ba");
    assert_eq!(slow.await, "$3 bac");
}

/// A conflict on the data discards the files too, and one that is overtaken all the time gets its turn.
#[tokio::test]
async fn files_and_data_are_committed_together() {
    let kept = with_kept(Isolation::Rewind);
    kept.0
        .keyspace
        .conflicts
        .store(OPTIMISTIC_TRIES_MAX + 3, Relaxed);
    assert_eq!(call(&kept, "count", "a").await, "$1 a");
    assert_eq!(kept.0.keyspace.string("n").as_deref(), Some("1"));
    assert_eq!(call(&kept, "count", "b").await, "$2 ab");

    let mut slow = pin!(call(&kept, "slow", "c"));
    let mut overtaken = 0;
    loop {
        let waits = poll_fn(|context| Poll::Ready(slow.as_mut().poll(context))).await;
        match waits {
            Poll::Ready(reply) => {
                assert!(reply.ends_with('c'), "{reply}");
                break;
            }
            Poll::Pending => {
                let mut other = pin!(call(&kept, "append", "."));
                // Once the slow call has its turn, the others wait for it.
                let done = poll_fn(|context| Poll::Ready(other.as_mut().poll(context))).await;
                match done {
                    Poll::Ready(_) => overtaken += 1,
                    Poll::Pending => {
                        assert!(slow.as_mut().await.ends_with('c'));
                        assert!(other.await.ends_with("c."));
                        break;
                    }
                }
            }
        }
    }
    assert!(overtaken >= OPTIMISTIC_TRIES_MAX, "{overtaken}");
}

/// A call that waits for its turn leaves its permit to others, the one that has the turn among them.
#[tokio::test]
async fn a_call_that_waits_for_its_turn_keeps_no_permit() {
    for isolation in [Isolation::Rewind, Isolation::Reuse] {
        let kept = with_instances(isolation, 2);
        let conflicts = &kept.0.keyspace.conflicts;
        // Its next try has the turn.
        conflicts.store(OPTIMISTIC_TRIES_MAX, Relaxed);
        let mut first = pin!(call(&kept, "count_slowly", "a"));
        loop {
            take_turn(first.as_mut()).await;
            if conflicts.load(Relaxed) == 0 {
                break;
            }
        }
        take_turn(first.as_mut()).await;
        let mut second = pin!(call(&kept, "append", "b"));
        // The first has the turn.
        take_turn(second.as_mut()).await;
        assert_eq!(kept.1.usage().running, 1);
        // One that waits for nothing else finds a permit.
        let request = CallRequest {
            read_only: true,
            reads_latest: true,
            ..CallRequest::new(b"test.read", &[], &[])
        };
        let read = kept.0.request(Protocol::Resp2, &kept.1, &request);
        assert_eq!(read.await.0, ":44");
        assert_eq!(first.await, "$1 a");
        assert_eq!(second.await, "$2 ab");
    }
}
