//! Effects of calls: all of them at commit, or none.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::call::request::{CallRequest, OPTIMISTIC_TRIES_MAX};
use ferrite_runtime::error::Code;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::scheduling::cancellation::CallHandle;

use crate::support::{Host, guest};

/// Adds one to the key, then does what the entry's name says.
const EFFECTS: &str = r#"
    (data (i32.const 0) "n")
    (func $bump (drop (call $incr_by (i32.const 0) (i32.const 1) (i64.const 1) (i32.const 8))))
    (func (export "run") (call $bump) (call $reply_int (i64.load (i32.const 8))))
    (func (export "trap") (call $bump) unreachable)
    (func (export "spin") (call $bump) (loop $l (br $l)))
    (func (export "silent") (call $bump))
    (func (export "error") (call $bump) (call $reply_error (i32.const 0) (i32.const 1)))
    (func (export "long") (call $bump) (call $reply_bulk (i32.const 0) (i32.const 60000)))"#;

const BOTH: [Isolation; 2] = [Isolation::Fresh, Isolation::Reuse];

#[tokio::test]
async fn a_call_that_returns_commits_and_gives_a_receipt() {
    for isolation in BOTH {
        let host = Host::new();
        let function = host.load_with(&guest(EFFECTS), |spec| spec.isolation = isolation);
        for expected in 1..4 {
            let request = CallRequest::new(b"test", &[], &[]);
            let (reply, outcome) = host.request(Protocol::Resp2, &function, &request).await;
            assert_eq!(reply, format!(":{expected}"));
            assert_eq!(outcome.receipt, Some(expected));
            assert_eq!(outcome.tries, 1);
        }
        // Without a reply, a function has replied OK.
        let request = CallRequest::new(b"test.silent", &[], &[]);
        let (reply, outcome) = host.request(Protocol::Resp2, &function, &request).await;
        assert_eq!((reply.as_str(), outcome.error), ("+OK", None));
        assert_eq!(host.keyspace.string("n").as_deref(), Some("4"));
        // An error that the function chose as its reply is a normal reply.
        let request = CallRequest::new(b"test.error", &[], &[]);
        let (reply, outcome) = host.request(Protocol::Resp2, &function, &request).await;
        assert_eq!((reply.as_str(), outcome.error), ("-n", None));
        assert_eq!(host.keyspace.string("n").as_deref(), Some("5"));
    }
}

#[tokio::test]
async fn a_call_that_fails_leaves_no_trace() {
    for isolation in BOTH {
        let host = Host::new();
        let function = host.load_with(&guest(EFFECTS), |spec| {
            spec.isolation = isolation;
            spec.limits.fuel_max = 100_000;
            spec.limits.reply_bytes_max = 1000;
        });
        for (entry, code) in [
            ("trap", Code::Trap),
            ("spin", Code::Fuel),
            ("long", Code::Limit),
        ] {
            let name = format!("test.{entry}");
            let request = CallRequest::new(name.as_bytes(), &[], &[]);
            let (reply, outcome) = host.request(Protocol::Resp2, &function, &request).await;
            let error = outcome.error.expect("it fails");
            assert_eq!(error.code(), code, "{reply}");
            assert_eq!(reply, format!("-{error}"), "the reply is the error alone");
            assert_eq!(outcome.receipt, None);
            assert_eq!(host.keyspace.entry("n"), None, "{entry}");
        }
        assert_eq!(host.keyspace.committed.load(Relaxed), 0);
    }
}

#[tokio::test]
async fn a_killed_or_late_call_leaves_no_trace() {
    let host = Host::new();
    let function = host.load_with(&guest(EFFECTS), |spec| spec.limits.fuel_max = u64::MAX >> 1);
    let handle = CallHandle::new();
    let request = CallRequest {
        handle: Some(&handle),
        ..CallRequest::new(b"test.spin", &[], &[])
    };
    handle.kill();
    let (reply, _) = host.request(Protocol::Resp2, &function, &request).await;
    assert!(reply.starts_with("-KILLED "), "{reply}");
    let request = CallRequest {
        timeout: Some(Duration::from_millis(2)),
        ..CallRequest::new(b"test.spin", &[], &[])
    };
    let (reply, _) = host.request(Protocol::Resp2, &function, &request).await;
    assert!(reply.starts_with("-TIMEOUT "), "{reply}");
    assert_eq!(host.keyspace.entry("n"), None);
}

#[tokio::test]
async fn calls_that_conflict_are_run_again_then_exclusively() {
    for isolation in BOTH {
        for conflicts in [1, OPTIMISTIC_TRIES_MAX - 1, OPTIMISTIC_TRIES_MAX, 1000] {
            let host = Host::new();
            host.keyspace.conflicts.store(conflicts, Relaxed);
            let function = host.load_with(&guest(EFFECTS), |spec| spec.isolation = isolation);
            let request = CallRequest::new(b"test", &[], &[]);
            let (reply, outcome) = host.request(Protocol::Resp3, &function, &request).await;
            assert_eq!(reply, ":1", "only one try has taken effect");
            assert_eq!(outcome.receipt, Some(1));
            assert_eq!(outcome.tries, conflicts.min(OPTIMISTIC_TRIES_MAX) + 1);
            let exclusive = host.keyspace.begun_exclusive.load(Relaxed);
            assert_eq!(exclusive, u32::from(conflicts >= OPTIMISTIC_TRIES_MAX));
        }
    }
}

#[tokio::test]
async fn a_call_that_is_lost_on_the_way_runs_again_however_its_guest_ends() {
    // After a failed read, does what the entry's name says; replies where it succeeded.
    let wat = guest(
        r#"(data (i32.const 0) "contended")
        (func $lost (result i32)
            (i32.le_s (call $get (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 8))
                      (i32.const -16)))
        (func (export "trap") (if (call $lost) (then unreachable)) (call $reply_int (i64.const 7)))
        (func (export "spin")
            (if (call $lost) (then (loop $l (br $l)))) (call $reply_int (i64.const 7)))
        (func (export "silent") (if (i32.eqz (call $lost)) (then (call $reply_int (i64.const 7)))))
        (func (export "reply") (drop (call $lost)) (call $reply_int (i64.const 7)))"#,
    );
    for isolation in BOTH {
        for losses in [1, OPTIMISTIC_TRIES_MAX - 1, 1000] {
            for entry in ["trap", "spin", "silent", "reply"] {
                for profile in [false, true] {
                    let host = Host::new();
                    host.keyspace.put("contended", "x");
                    host.keyspace.losses.store(losses, Relaxed);
                    let function = host.load_with(&wat, |spec| {
                        spec.isolation = isolation;
                        spec.limits.fuel_max = 100_000;
                    });
                    let name = format!("test.{entry}");
                    let request = CallRequest {
                        profile,
                        ..CallRequest::new(name.as_bytes(), &[], &[])
                    };
                    let (reply, outcome) = host.request(Protocol::Resp3, &function, &request).await;
                    assert_eq!(reply, ":7", "{entry} lost {losses} times");
                    assert_eq!(outcome.tries, losses.min(OPTIMISTIC_TRIES_MAX) + 1);
                    assert_eq!(function.usage().running, 0);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_lost_call_ends_with_its_time_nevertheless() {
    let host = Host::new();
    host.keyspace.losses.store(1000, Relaxed);
    let wat = guest(
        r#"(data (i32.const 0) "contended")
        (func (export "run")
            (drop (call $get (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 8)))
            (loop $l (br $l)))"#,
    );
    let function = host.load_with(&wat, |spec| {
        spec.limits.fuel_max = u64::MAX >> 1;
        spec.limits.time_max = Duration::from_millis(5);
    });
    let reply = host.call(&function, &[], &[]).await;
    assert!(reply.starts_with("-TIMEOUT "), "{reply}");
}

#[tokio::test]
async fn waiting_for_exclusivity_ends_with_the_calls_time() {
    let host = Host::new();
    host.keyspace.conflicts.store(1000, Relaxed);
    host.keyspace.exclusive_never.store(1, Relaxed);
    let function = host.load_with(&guest(EFFECTS), |spec| {
        spec.limits.time_max = Duration::from_millis(20);
    });
    let reply = host.call(&function, &[], &[]).await;
    assert!(reply.starts_with("-TIMEOUT "), "{reply}");
    assert_eq!(function.usage().running, 0);
}

/// An exclusive call may wait for a permit of the same function.
#[tokio::test]
async fn a_call_that_waits_for_exclusivity_keeps_no_permit() {
    for isolation in [Isolation::Rewind, Isolation::Fresh, Isolation::Reuse] {
        let host = Host::new();
        let function = host.load_with(&guest(EFFECTS), |spec| {
            spec.isolation = isolation;
            spec.pool.instances_max = 1;
            spec.pool.waiting_max = 0;
        });
        host.keyspace.conflicts.store(OPTIMISTIC_TRIES_MAX, Relaxed);
        host.keyspace.exclusive_never.store(1, Relaxed);
        let mut waiting = pin!(host.call(&function, &[], &[]));
        let waits = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        assert_eq!(function.usage().running, 0, "{isolation}");
        assert_eq!(host.call(&function, &[], &[]).await, ":1");
    }
}

#[tokio::test]
async fn a_store_that_fails_at_commit_is_an_error() {
    let host = Host::new();
    host.keyspace.broken.store(1, Relaxed);
    let function = host.load(&guest(EFFECTS));
    assert_eq!(
        host.call(&function, &[], &[]).await,
        "-STORE nothing of the call was kept: disk full"
    );
}

#[tokio::test]
async fn a_profile_runs_for_real_and_rolls_back() {
    let host = Host::new();
    let function = host.load(&guest(EFFECTS));
    let request = CallRequest {
        profile: true,
        ..CallRequest::new(b"test", &[], &[])
    };
    let (reply, outcome) = host.request(Protocol::Resp2, &function, &request).await;
    assert_eq!(reply, ":1");
    assert_eq!(outcome.receipt, None);
    assert_eq!(host.keyspace.entry("n"), None);
    assert!(outcome.latency.is_some());
    let profile = outcome.profile.expect("it was asked for");
    assert_eq!(profile.memory_bytes, 65_536);
    let calls: Vec<_> = profile
        .host_calls
        .as_slice()
        .iter()
        .map(|call| (call.name, call.calls, call.bytes))
        .collect();
    assert_eq!(calls, [("incr_by", 1, 1), ("reply_int", 1, 0)]);
}

#[tokio::test]
async fn a_call_without_data_begins_nothing() {
    let host = Host::new();
    let function = host.load(&crate::support::run("(call $reply_null)"));
    let request = CallRequest::new(b"test", &[], &[]);
    let (_, outcome) = host.request(Protocol::Resp2, &function, &request).await;
    assert_eq!(outcome.receipt, None);
    assert_eq!(host.keyspace.begun.load(Relaxed), 0);
}
