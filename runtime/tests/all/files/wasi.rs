//! WASI preview 1, as guests in C or Go use it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use ferrite_wasm_abi::wasi::{PREVIEW1, PREVIEW1_MODULE};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::support::Host;

/// A module that imports all of WASI, with a page of memory and this body.
fn guest(body: &str) -> String {
    let mut wat = String::from("(module\n");
    for import in PREVIEW1 {
        let params: String = import
            .params
            .iter()
            .map(|ty| format!(" {}", ty.name()))
            .collect();
        let result = import
            .result
            .map_or(String::new(), |ty| format!("(result {})", ty.name()));
        let name = import.name;
        writeln!(
            wat,
            r#"(import "{PREVIEW1_MODULE}" "{name}" (func ${name} (param{params}) {result}))"#
        )
        .expect("writing to a string");
    }
    wat + "(memory (export \"memory\") 1)\n" + body + ")"
}

async fn results(body: &str) -> String {
    let host = Host::new();
    let function = host.load(&guest(body));
    host.call(&function, &[], &[]).await
}

#[tokio::test]
async fn there_are_no_arguments_and_no_environment() {
    let reply = results(
        r#"(func (export "run") (result i32 i64 i32 i64)
            (i64.store (i32.const 0) (i64.const -1))
            (i64.store (i32.const 8) (i64.const -1))
            (call $args_sizes_get (i32.const 0) (i32.const 4)) (i64.load (i32.const 0))
            (call $environ_sizes_get (i32.const 8) (i32.const 12)) (i64.load (i32.const 8)))"#,
    )
    .await;
    assert_eq!(reply, "*4 :0 :0 :0 :0");
}

#[tokio::test]
async fn clocks_tell_the_time_and_move() {
    let host = Host::new();
    let function = host.load(&guest(
        r#"(func (export "run") (param i32) (result i32 i64)
            (call $clock_time_get (local.get 0) (i64.const 0) (i32.const 0))
            (i64.load (i32.const 0)))"#,
    ));
    let read = async |clock: &str| -> Option<u64> {
        let reply = host.call(&function, &[], &[clock]).await;
        reply.strip_prefix("*2 :0 :")?.parse().ok()
    };
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970")
        .as_nanos();
    let real = read("0").await.expect("there is a real clock");
    assert!(u128::from(real) / 1_000_000_000 - now / 1_000_000_000 < 60);
    assert_eq!(real % 1000, 0, "microseconds are enough");
    let first = read("1").await.expect("there is a monotonic clock");
    let second = read("1").await.expect("there is a monotonic clock");
    assert!(second > first);
    assert_eq!(host.call(&function, &[], &["9"]).await, "*2 :28 :0");
}

#[tokio::test]
async fn random_bytes_are_random() {
    let body = r#"(func (export "run") (result i32 i64)
        (call $random_get (i32.const 0) (i32.const 8)) (i64.load (i32.const 0)))"#;
    assert_ne!(results(body).await, results(body).await);
}

#[tokio::test]
async fn exit_is_a_trap() {
    let reply = results(r#"(func $main (export "run") (call $proc_exit (i32.const 3)))"#).await;
    let (start, end) = (
        "-TRAP in wasm function \"main\" at offset 0x",
        ": the guest exited with code 3; a function returns instead",
    );
    assert!(reply.starts_with(start) && reply.ends_with(end), "{reply}");
}

#[tokio::test]
async fn files_and_sockets_are_not_there() {
    let host = Host::new();
    let own = [
        "args_get",
        "args_sizes_get",
        "clock_res_get",
        "clock_time_get",
        "environ_get",
        "environ_sizes_get",
        "fd_write",
        "proc_exit",
        "random_get",
        "sched_yield",
        "fd_fdstat_get",
        "fd_read",
        "fd_close",
        "fd_seek",
        "poll_oneoff",
    ];
    for import in PREVIEW1 {
        if own.contains(&import.name) {
            continue;
        }
        let zeros: String = import
            .params
            .iter()
            .map(|ty| format!("({}.const 5)", ty.name()))
            .collect();
        let function = host.load(&guest(&format!(
            r#"(func (export "run") (result i32) {zeros} (call ${}))"#,
            import.name
        )));
        let absent = if import.name.starts_with("fd_") || import.name.starts_with("path_") {
            ":8"
        } else {
            ":52"
        };
        assert_eq!(
            host.call(&function, &[], &[]).await,
            absent,
            "{}",
            import.name
        );
    }
}

#[tokio::test]
async fn the_standard_streams_are_devices_without_input() {
    let reply = results(
        r#"(func (export "run") (result i32 i64 i32 i32 i32 i32 i32 i32)
            (call $fd_fdstat_get (i32.const 1) (i32.const 0)) (i64.load (i32.const 0))
            (call $fd_fdstat_get (i32.const 3) (i32.const 0))
            (call $fd_read (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
            (i32.load (i32.const 64))
            (call $fd_close (i32.const 2))
            (call $fd_seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 0))
            (call $fd_close (i32.const 3)))"#,
    )
    .await;
    assert_eq!(reply, "*8 :0 :2 :8 :0 :0 :0 :70 :8");
}

#[tokio::test]
async fn pointers_are_checked() {
    let host = Host::new();
    for call in [
        "(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 65530))",
        "(call $random_get (i32.const 65530) (i32.const 100))",
        "(call $args_sizes_get (i32.const -1) (i32.const 0))",
        "(call $fd_write (i32.const 1) (i32.const 65530) (i32.const 1) (i32.const 0))",
        "(call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 65533))",
        "(call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0))",
        "(call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0))",
        "(call $fd_fdstat_get (i32.const 1) (i32.const 65530))",
        "(call $fd_read (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 65533))",
    ] {
        let function = host.load(&guest(&format!(
            r#"(data (i32.const 8) "\ff\ff\00\00\02\00\00\00")
            (func (export "run") (result i32) {call})"#
        )));
        let reply = host.call(&function, &[], &[]).await;
        assert!(
            reply.starts_with("-TRAP ") && reply.contains("outside the memory"),
            "{call}: {reply}"
        );
    }
}

/// Collects what guests log, as `LEVEL text`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "ferrite::guest" && *metadata.level() <= Level::TRACE
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let line = format!("{} {}", event.metadata().level(), text.0);
        self.0.lock().expect("no test panics here").push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Lines {
    /// Returns the lines that a call of this guest logs.
    async fn of(wat: &str, log_bytes_max: u64) -> Vec<String> {
        let lines = Self::default();
        let guard = tracing::subscriber::set_default(lines.clone());
        let host = Host::new();
        let function = host.load_with(wat, |spec| spec.limits.log_bytes_max = log_bytes_max);
        let reply = host.call(&function, &[], &[]).await;
        assert!(reply.starts_with([':', '_']), "{reply}");
        drop(guard);
        let logged = lines.0.lock().expect("no test panics here");
        logged.clone()
    }
}

#[tokio::test(flavor = "current_thread")]
async fn lines_on_the_standard_streams_are_logged() {
    let wat = guest(
        r#"(data (i32.const 0) "one\0atwo\0aunfinished")
        ;; Two vectors: the first six bytes, then the rest.
        (data (i32.const 64) "\00\00\00\00\06\00\00\00\06\00\00\00\0c\00\00\00")
        (func (export "run") (result i32)
            (drop (call $fd_write (i32.const 1) (i32.const 64) (i32.const 2) (i32.const 96)))
            (drop (call $fd_write (i32.const 2) (i32.const 64) (i32.const 1) (i32.const 100)))
            (i32.load (i32.const 96)))"#,
    );
    assert_eq!(
        Lines::of(&wat, 1000).await,
        [
            "INFO one",
            "INFO two",
            "WARN one",
            "INFO unfinished",
            "WARN tw"
        ]
    );
}

#[tokio::test(flavor = "current_thread")]
async fn log_has_levels_and_a_limit() {
    let wat = crate::support::run(
        r#"(call $log (i32.const 0) (i32.const 0) (i32.const 4))
        (call $log (i32.const -7) (i32.const 0) (i32.const 4))
        (call $log (i32.const 1) (i32.const 0) (i32.const 4))
        (call $log (i32.const 3) (i32.const 0) (i32.const 4))
        (call $log (i32.const 99) (i32.const 0) (i32.const 4))
        (call $log (i32.const 2) (i32.const 0) (i32.const 4))
        (call $reply_null)"#,
    )
    .replacen(
        "(func (export",
        "(data (i32.const 0) \"text\") (func (export",
        1,
    );
    assert_eq!(
        Lines::of(&wat, 27).await,
        [
            "TRACE text",
            "TRACE text",
            "DEBUG text",
            "WARN text",
            "ERROR text",
            "INFO te",
            "WARN the call logs more than max_log allows; the rest is left out"
        ]
    );
}

/// A guest that polls events: `setup` writes subscriptions at 0; replies with the status, the
/// number of events, and user data, error and kind of the first two.
fn poller(count: u32, setup: &str) -> String {
    format!(
        r#"(func (export "run") (result i32 i32 i64 i32 i32 i64 i32 i32)
            {setup}
            (call $poll_oneoff (i32.const 0) (i32.const 1024) (i32.const {count}) (i32.const 512))
            (i32.load (i32.const 512))
            (i64.load (i32.const 1024)) (i32.load16_u (i32.const 1032)) (i32.load8_u (i32.const 1034))
            (i64.load (i32.const 1056)) (i32.load16_u (i32.const 1064)) (i32.load8_u (i32.const 1066)))"#
    )
}

/// Instructions that write a subscription to a clock.
fn clock(at: u32, user: u32, clock: u32, nanos: u64, flags: u32) -> String {
    format!(
        "(i64.store (i32.const {at}) (i64.const {user}))
         (i32.store (i32.const {}) (i32.const {clock}))
         (i64.store (i32.const {}) (i64.const {nanos}))
         (i32.store16 (i32.const {}) (i32.const {flags}))",
        at + 16,
        at + 24,
        at + 40,
    )
}

#[tokio::test]
async fn a_guest_may_sleep_as_long_as_its_call_may_take() {
    const MILLIS: u64 = 1_000_000;
    let started = std::time::Instant::now();
    let shorter = clock(0, 7, 1, 60_000 * MILLIS, 0) + &clock(48, 8, 0, 20 * MILLIS, 0);
    assert_eq!(
        results(&poller(2, &shorter)).await,
        "*8 :0 :1 :8 :0 :0 :0 :0 :0",
        "the first clock that is through"
    );
    assert!(started.elapsed() >= std::time::Duration::from_millis(20));
    // Points in time that have passed.
    let passed = clock(0, 7, 0, 1, 1) + &clock(48, 8, 1, 1, 1);
    assert_eq!(
        results(&poller(2, &passed)).await,
        "*8 :0 :2 :7 :0 :0 :8 :0 :0"
    );
    // An event reports a clock that does not exist.
    assert_eq!(
        results(&poller(1, &clock(0, 7, 9, 1, 0))).await,
        "*8 :0 :1 :7 :28 :0 :0 :0 :0"
    );

    let host = Host::new();
    let function = host.load_with(
        &guest(&poller(1, &clock(0, 7, 1, u64::MAX >> 1, 0))),
        |spec| {
            spec.limits.time_max = std::time::Duration::from_millis(20);
        },
    );
    let reply = host.call(&function, &[], &[]).await;
    assert!(reply.starts_with("-TIMEOUT "), "{reply}");

    let handle = ferrite_runtime::scheduling::cancellation::CallHandle::new();
    handle.kill();
    let request = ferrite_runtime::call::request::CallRequest {
        handle: Some(&handle),
        ..ferrite_runtime::call::request::CallRequest::new(b"test", &[], &[])
    };
    let protocol = ferrite_protocol::resp::Protocol::Resp3;
    let (reply, _) = host.request(protocol, &function, &request).await;
    assert!(reply.starts_with("-KILLED "), "{reply}");
}

#[tokio::test]
async fn sleepers_leave_their_thread_to_others() {
    let host = Host::new();
    let sleep = host.load(&guest(&poller(1, &clock(0, 7, 1, 300_000_000, 0))));
    let quick = host.load(&guest(
        r#"(func (export "run") (result i32) (i32.const 5))"#,
    ));
    // A single thread: if the first call blocked it, the second would have to wait.
    let (order, ()) = (std::cell::RefCell::new(Vec::new()), ());
    tokio::join!(
        async {
            host.call(&sleep, &[], &[]).await;
            order.borrow_mut().push("slept");
        },
        async {
            host.call(&quick, &[], &[]).await;
            order.borrow_mut().push("quick");
        }
    );
    assert_eq!(order.into_inner(), ["quick", "slept"]);
}

#[tokio::test]
async fn streams_are_ready_at_once_and_nonsense_is_refused() {
    let stream = |at: u32, tag: u32, fd: u32| {
        format!(
            "(i64.store (i32.const {at}) (i64.const {at}))
             (i32.store8 (i32.const {}) (i32.const {tag}))
             (i32.store (i32.const {}) (i32.const {fd}))",
            at + 8,
            at + 16
        )
    };
    let both = stream(0, 1, 0) + &stream(48, 2, 1);
    assert_eq!(
        results(&poller(2, &both)).await,
        "*8 :0 :2 :0 :0 :1 :48 :0 :2"
    );
    let neither = stream(0, 2, 0) + &stream(48, 1, 9);
    assert_eq!(
        results(&poller(2, &neither)).await,
        "*8 :0 :2 :0 :8 :2 :48 :8 :1"
    );
    assert_eq!(
        results(&poller(1, &stream(0, 77, 0))).await,
        "*8 :0 :1 :0 :28 :77 :0 :0 :0"
    );
    assert_eq!(results(&poller(0, "")).await, "*8 :28 :0 :0 :0 :0 :0 :0 :0");
    assert!(results(&poller(65, "")).await.starts_with("*8 :28 "));
    let outside = r#"(func (export "run") (result i32)
        (call $poll_oneoff (i32.const 65500) (i32.const 0) (i32.const 1) (i32.const 512)))"#;
    assert!(results(outside).await.contains("outside the memory"));
}
