//! Fibers and turns: calls that yield, calls that are ended, and dropped calls.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::scheduling::cancellation::CallHandle;

use crate::support::{Host, TestFunction, guest};

/// Adds one to the key, then spins.
const SPIN: &str = r#"
    (data (i32.const 0) "n")
    (func (export "run")
        (drop (call $incr_by (i32.const 0) (i32.const 1) (i64.const 1) (i32.const 8)))
        (loop $l (br $l)))"#;

fn spinning(host: &Host, isolation: Isolation) -> TestFunction {
    host.load_with(&guest(SPIN), |spec| {
        spec.isolation = isolation;
        spec.limits.fuel_max = u64::MAX >> 1;
        spec.limits.time_max = Duration::from_secs(600);
    })
}

/// Polls a future until it has yielded `times` times, or is ready.
fn poll_times<F: Future>(mut future: std::pin::Pin<&mut F>, times: usize) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..times {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}

#[tokio::test(flavor = "current_thread")]
async fn a_long_call_lets_others_run_on_the_same_thread() {
    let host = Arc::new(Host::new());
    let spin = spinning(&host, Isolation::Fresh);
    let quick = host.load(&crate::support::run("(call $reply_null)"));
    let handle = CallHandle::new();
    let endless = tokio::spawn({
        let (host, handle) = (Arc::clone(&host), handle.clone());
        async move {
            let request = CallRequest {
                handle: Some(&handle),
                ..CallRequest::new(b"test", &[], &[])
            };
            host.request(Protocol::Resp2, &spin, &request).await.0
        }
    });
    for _ in 0..20 {
        assert_eq!(host.call(&quick, &[], &[]).await, "_");
        tokio::task::yield_now().await;
    }
    assert!(!endless.is_finished());
    handle.kill();
    let reply = endless.await.expect("it does not panic");
    assert!(reply.starts_with("-KILLED "), "{reply}");
}

#[test]
fn a_dropped_call_leaves_no_trace() {
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let host = Host::new();
        let function = spinning(&host, isolation);
        {
            let request = CallRequest::new(b"test", &[], &[]);
            let mut reply = Encoder::default();
            let mut call = pin!(host.run(&function, &request, &mut reply));
            assert!(poll_times(call.as_mut(), 3).is_none(), "it spins");
            assert_eq!(function.usage().running, 1);
            assert_eq!(function.running().len(), 1);
        }
        assert_eq!(function.usage().running, 0);
        assert_eq!(function.usage().idle, 0, "its instance is lost");
        assert_eq!(function.running(), []);
        assert_eq!(host.keyspace.entry("n"), None);
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_call_that_gave_way_is_woken_to_end() {
    let host = Host::new();
    let function = spinning(&host, Isolation::Fresh);
    let ends: [fn(&TestFunction, &CallHandle); 3] = [
        |function, _| assert!(function.kill(function.running()[0].id)),
        |function, _| assert_eq!(function.kill_all(), 1),
        |_, handle| handle.kill(),
    ];
    for end in ends {
        let handle = CallHandle::new();
        let request = CallRequest {
            handle: Some(&handle),
            ..CallRequest::new(b"test", &[], &[])
        };
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut reply = Encoder::default();
        let mut call = pin!(host.run(&function, &request, &mut reply));
        for _ in 0..3 {
            assert!(call.as_mut().poll(&mut context).is_pending(), "it spins");
        }
        // It woke itself, to continue at its next turn.
        assert_eq!(woken.0.swap(0, Ordering::SeqCst), 3);
        end(&function, &handle);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(poll_times(call.as_mut(), 10).is_some(), "it ends");
    }
}

#[test]
fn a_call_that_gave_way_is_woken_at_its_deadline() {
    let host = Host::new();
    let function = host.load_with(&guest(SPIN), |spec| {
        spec.limits.fuel_max = u64::MAX >> 1;
        spec.limits.time_max = Duration::from_millis(100);
    });
    let request = CallRequest::new(b"test", &[], &[]);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut reply = Encoder::default();
    let mut call = pin!(host.run(&function, &request, &mut reply));
    let first = call.as_mut().poll(&mut Context::from_waker(&waker));
    if first.is_pending() {
        // One wake is its own; the other comes from its deadline, without which this never ends.
        while woken.0.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        let outcome = poll_times(call.as_mut(), 10).expect("it is over");
        let error = outcome.error.expect("it was ended").to_string();
        assert!(error.starts_with("TIMEOUT "), "{error}");
    }
}

#[test]
fn a_kill_is_heard_at_any_step_of_a_first_call() {
    // The start function makes the state that all calls share. It is listed as a part of the call.
    let slow_start = guest(
        r#"
        (start $begin)
        (func $begin (local $left i32)
            (local.set $left (i32.const 30000))
            (loop $l
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $l (local.get $left))))
        (func (export "run") (loop $l (br $l)))"#,
    );
    let host = Host::new();
    for _ in 0..20 {
        let function = host.load_with(&slow_start, |spec| {
            spec.isolation = Isolation::Rewind;
            spec.limits.fuel_max = u64::MAX >> 1;
            spec.limits.time_max = Duration::from_secs(600);
        });
        let reply = std::thread::scope(|scope| {
            scope.spawn(|| while function.kill_all() == 0 {});
            pollster::block_on(host.call(&function, &[], &[]))
        });
        assert!(reply.starts_with("-KILLED "), "{reply}");
    }
}

#[test]
fn calls_are_killed_by_id_or_all_at_once() {
    let host = Host::new();
    let function = spinning(&host, Isolation::Reuse);
    let request = CallRequest::new(b"test", &[], &[]);
    let mut replies = [Encoder::default(), Encoder::default(), Encoder::default()];
    let [one, two, three] = &mut replies;
    let mut one = pin!(host.run(&function, &request, one));
    assert!(poll_times(one.as_mut(), 2).is_none());
    let first = function.running()[0].id;
    let mut two = pin!(host.run(&function, &request, two));
    let mut three = pin!(host.run(&function, &request, three));
    assert!(poll_times(two.as_mut(), 2).is_none());
    assert!(poll_times(three.as_mut(), 2).is_none());
    assert_eq!(function.running().len(), 3);

    assert!(function.kill(first));
    assert!(poll_times(two.as_mut(), 2).is_none(), "the others go on");
    let outcome = poll_times(one.as_mut(), 10).expect("it was killed");
    assert!(outcome.error.is_some());
    assert!(!function.kill(first), "it is over");

    assert_eq!(function.kill_all(), 2);
    assert!(poll_times(two.as_mut(), 10).is_some());
    assert!(poll_times(three.as_mut(), 10).is_some());
    assert_eq!(function.usage().running, 0);
    assert_eq!(host.keyspace.entry("n"), None);
}

#[test]
fn calls_past_the_bound_wait_and_past_that_are_refused() {
    let host = Host::new();
    let function = host.load_with(&guest(SPIN), |spec| {
        spec.limits.fuel_max = u64::MAX >> 1;
        spec.pool.instances_max = 1;
        spec.pool.waiting_max = 1;
    });
    let request = CallRequest::new(b"test", &[], &[]);
    let handle = CallHandle::new();
    let waiting_request = CallRequest {
        handle: Some(&handle),
        ..request
    };
    let mut replies = [Encoder::default(), Encoder::default(), Encoder::default()];
    let [one, two, three] = &mut replies;
    let mut running = pin!(host.run(&function, &request, one));
    assert!(poll_times(running.as_mut(), 2).is_none());
    let mut waiting = pin!(host.run(&function, &waiting_request, two));
    assert!(poll_times(waiting.as_mut(), 2).is_none());
    assert_eq!(function.usage().waiting, 1);

    let mut refused = pin!(host.run(&function, &request, three));
    let outcome = poll_times(refused.as_mut(), 1).expect("there is no room to wait");
    assert_eq!(
        outcome.error.map(|error| error.to_string()).as_deref(),
        Some(
            "BUSY 1 calls of function \"test\" are running and 1 are waiting, which is the limit; try again later, or raise max_instances"
        )
    );

    handle.kill();
    let outcome = poll_times(waiting.as_mut(), 1).expect("a waiting call is killed at once");
    assert!(
        outcome
            .error
            .is_some_and(|error| error.to_string().starts_with("KILLED "))
    );
    assert_eq!(function.usage().waiting, 0);
    assert_eq!(function.kill_all(), 1);
    assert!(poll_times(running.as_mut(), 10).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_waiting_call_gets_its_turn() {
    let host = Arc::new(Host::new());
    let function = host.load_with(
        &guest(
            r#"(data (i32.const 0) "n")
            (func (export "run") (local $i i32)
                (loop $l
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $l (i32.lt_u (local.get $i) (i32.const 100000))))
                (call $reply_null))"#,
        ),
        |spec| spec.pool.instances_max = 2,
    );
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (host, function) = (Arc::clone(&host), function.clone());
            tokio::spawn(async move { host.call(&function, &[], &[]).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.expect("it does not panic"), "_");
    }
    let usage = function.usage();
    assert_eq!((usage.running, usage.waiting, usage.started), (0, 0, 100));
}
