//! Commands within their budget, and what one call may keep from others.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::RuntimeOptions;
use ferrite_runtime::call::request::{CallRequest, OPTIMISTIC_TRIES_MAX};
use ferrite_runtime::instance::engine::EngineOptions;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::scheduling::cancellation::CallHandle;
use ferrite_runtime::scheduling::run_queue::SHORT_POLLS_MAX;
use ferrite_wasm_abi::Status;

use crate::support::{Host, TestFunction, guest};

const BOTH: [Isolation; 2] = [Isolation::Rewind, Isolation::Fresh];

/// A guest that runs a command with a key and a number, and returns its status or length.
fn command(name: &str, number: u64) -> String {
    let number = number.to_string();
    let args = format!(
        "*2\\0d\\0a$1\\0d\\0ak\\0d\\0a${}\\0d\\0a{number}\\0d\\0a",
        number.len()
    );
    let args_len = args.replace("\\0d", "-").replace("\\0a", "-").len();
    guest(&format!(
        r#"(data (i32.const 0) "{name}") (data (i32.const 64) "{args}")
        (func (export "run") (result i32)
            (call $call (i32.const 0) (i32.const {}) (i32.const 64) (i32.const {args_len})
                        (i32.const 1024) (i32.const 64)))"#,
        name.len(),
    ))
}

/// A guest that reads a key, sleeps for so many milliseconds, and writes the key.
fn sleeper(millis: u64) -> String {
    guest(&format!(
        r#"(data (i32.const 0) "k")
        (func (export "run") (result i32)
            (drop (call $get (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 8)))
            (i32.store (i32.const 272) (i32.const 1))
            (i64.store (i32.const 280) (i64.const {}))
            (drop (call $poll_oneoff (i32.const 256) (i32.const 1024) (i32.const 1) (i32.const 512)))
            (call $set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)
                       (i32.const 0) (i64.const -1)))"#,
        millis * 1_000_000,
    ))
    // Imports come before everything else.
    .replacen(
        "(memory (export",
        r#"(import "wasi_snapshot_preview1" "poll_oneoff"
            (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
        (memory (export"#,
        1,
    )
}

#[tokio::test]
async fn a_command_ends_when_the_fuel_is_used_up() {
    const FUEL: u64 = 1_000_000;
    for isolation in BOTH {
        let host = Host::new();
        let function = host.load_with(&command("WORK", 1 << 40), |spec| {
            spec.isolation = isolation;
            spec.limits.fuel_max = FUEL;
        });
        let reply = host.call(&function, &[], &[]).await;
        assert!(reply.starts_with("-FUEL "), "{reply}");
        let worked = host.keyspace.worked.load(Relaxed);
        // A first try without a fiber ends after a slice.
        assert!((FUEL / 2..FUEL + 250_000).contains(&worked), "{worked}");
    }
}

#[tokio::test]
async fn work_within_the_fuel_is_charged_and_done() {
    let host = Host::new();
    let function = host.load(&command("WORK", 100_000));
    let request = CallRequest::new(b"test", &[], &[]);
    let (reply, outcome) = host.request(Protocol::Resp3, &function, &request).await;
    assert_eq!(reply, ":5", "the length of +OK");
    assert_eq!(host.keyspace.worked.load(Relaxed), 100_000);
    assert!(
        (100_000..110_000).contains(&outcome.fuel),
        "{}",
        outcome.fuel
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_notices_a_kill_and_the_deadline_while_it_works() {
    let host = Host::new();
    let function = host.load_with(&command("WORK", u64::MAX >> 1), |spec| {
        spec.limits.fuel_max = u64::MAX;
        spec.limits.time_max = Duration::MAX;
    });
    let handle = CallHandle::new();
    let killer = {
        let (handle, worked) = (handle.clone(), host.keyspace.worked.clone());
        std::thread::spawn(move || {
            while worked.load(Relaxed) < 1_000_000 {
                std::thread::yield_now();
            }
            handle.kill();
        })
    };
    let request = CallRequest {
        handle: Some(&handle),
        ..CallRequest::new(b"test", &[], &[])
    };
    let (reply, _) = host.request(Protocol::Resp3, &function, &request).await;
    assert!(reply.starts_with("-KILLED "), "{reply}");
    killer.join().expect("it does not panic");

    let request = CallRequest {
        timeout: Some(Duration::from_millis(5)),
        ..CallRequest::new(b"test", &[], &[])
    };
    let (reply, _) = host.request(Protocol::Resp3, &function, &request).await;
    assert!(reply.starts_with("-TIMEOUT "), "{reply}");
}

#[tokio::test]
async fn replies_and_writes_end_at_their_limits() {
    let limit = format!(":{}", Status::Limit.code());
    for (name, number, expected) in [
        ("REPEAT", 1 << 16, ":65546"),
        ("REPEAT", (1 << 20) + 1, limit.as_str()),
        ("GROW", 1_000 - 20, ":5"),
        ("GROW", 1_001, limit.as_str()),
    ] {
        let host = Host::new();
        let function = host.load_with(&command(name, number), |spec| {
            spec.limits.memory_bytes_max = 1 << 20;
            spec.limits.writes_bytes_max = 1_000;
        });
        let reply = host.call(&function, &[], &[]).await;
        assert_eq!(reply, expected, "{name} {number}");
    }
}

#[tokio::test]
async fn what_a_command_writes_beyond_its_arguments_counts() {
    let host = Host::new();
    let wat = command("GROW", 400).replacen("(result i32)\n            (call $call", "(result i32)\n            (drop (call $call (i32.const 0) (i32.const 4) (i32.const 64) (i32.const 20) (i32.const 1024) (i32.const 64)))\n            (call $call", 1);
    let function = host.load_with(&wat, |spec| spec.limits.writes_bytes_max = 600);
    let reply = host.call(&function, &[], &[]).await;
    assert_eq!(reply, format!(":{}", Status::Limit.code()));
}

#[tokio::test]
async fn an_exclusive_call_that_sleeps_does_not_hold_others_up() {
    for (millis, ended) in [(0, 0), (20, 1)] {
        let host = Host::new();
        host.keyspace.conflicts.store(OPTIMISTIC_TRIES_MAX, Relaxed);
        let function = host.load(&sleeper(millis));
        assert_eq!(host.call(&function, &[], &[]).await, ":0");
        assert_eq!(host.keyspace.begun_exclusive.load(Relaxed), 1);
        assert_eq!(
            host.keyspace.ended_exclusive.load(Relaxed),
            ended,
            "it slept for {millis} ms"
        );
    }
}

/// A host that can move calls to threads of their own.
fn host_that_moves_calls() -> Host {
    fn yield_now() -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut yielded = false;
        Box::pin(poll_fn(move |context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }))
    }
    Host::with_runtime(RuntimeOptions {
        yield_now: Some(yield_now),
        ..RuntimeOptions::default()
    })
}

/// Polls a call to its end. Returns the number of polls, and the most work that one of the first ones
/// did, after which the host may have moved the call.
fn polls_and_work_before_a_move(host: &Host, function: &TestFunction) -> (u32, u64) {
    let request = CallRequest::new(b"test", &[], &[]);
    let mut reply = Encoder::default();
    let mut call = pin!(host.run(function, &request, &mut reply));
    let mut context = Context::from_waker(Waker::noop());
    let (mut polls, mut most) = (0, 0);
    loop {
        let before = host.keyspace.worked.load(Relaxed);
        let polled = call.as_mut().poll(&mut context);
        polls += 1;
        if polls <= SHORT_POLLS_MAX + 1 {
            most = most.max(host.keyspace.worked.load(Relaxed) - before);
        }
        if let Poll::Ready(outcome) = polled {
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            return (polls, most);
        }
    }
}

#[test]
fn a_long_command_holds_no_thread_that_serves_others() {
    const SLICE: u64 = 250_000;
    for isolation in BOTH {
        let host = host_that_moves_calls();
        let long = host.load_with(&command("WORK", 4_000_000), |spec| {
            spec.isolation = isolation;
        });
        // Once it is known as long, it begins on a stack of its own, which bounds no command.
        for round in 0..5 {
            let (polls, most) = polls_and_work_before_a_move(&host, &long);
            assert!(polls > SHORT_POLLS_MAX + 1, "round {round}: {polls} polls");
            assert!(most <= SLICE, "round {round}: {most} units in a poll");
        }
        let short = host.load_with(&command("WORK", 1_000), |spec| spec.isolation = isolation);
        let (polls, _) = polls_and_work_before_a_move(&host, &short);
        assert_eq!(polls, 1, "short calls do not wait");
    }
    // A reused instance cannot be run again, so its first long command is not foreseen.
    let host = host_that_moves_calls();
    let reused = host.load_with(&command("WORK", 4_000_000), |spec| {
        spec.isolation = Isolation::Reuse;
    });
    polls_and_work_before_a_move(&host, &reused);
    let (polls, most) = polls_and_work_before_a_move(&host, &reused);
    assert!(
        polls > SHORT_POLLS_MAX + 1 && most <= SLICE,
        "{polls} {most}"
    );
}

#[tokio::test]
async fn sleeping_calls_leave_instances_to_other_functions() {
    const INSTANCES: usize = 16;
    for isolation in BOTH {
        let host = Host::with_options(&EngineOptions {
            instances_max: INSTANCES as u32,
            ..EngineOptions::default()
        });
        let sleep = host.load_with(&sleeper(1_000_000_000), |spec| spec.isolation = isolation);
        let quick = host.load_with(&crate::support::run("(call $reply_null)"), |spec| {
            spec.isolation = isolation;
        });
        let request = CallRequest::new(b"test", &[], &[]);
        let mut replies: Vec<_> = (0..INSTANCES).map(|_| Encoder::default()).collect();
        let mut calls: Vec<Pin<Box<dyn Future<Output = _> + '_>>> = Vec::new();
        for reply in &mut replies {
            calls.push(Box::pin(host.run(&sleep, &request, reply)));
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut refused = 0;
        for call in &mut calls {
            if let Poll::Ready(outcome) = call.as_mut().poll(&mut context) {
                let error = outcome.error.expect("it cannot have slept for so long");
                assert!(error.to_string().contains("its share"), "{error}");
                refused += 1;
            }
        }
        // A quarter is left to others.
        assert!((1..=INSTANCES / 4).contains(&refused), "{refused}");
        for _ in 0..3 {
            assert_eq!(host.call(&quick, &[], &[]).await, "_");
        }
    }
}
