//! Rewinding on the way of calls: the isolation in force, and what is shared or dropped.

use std::time::Duration;

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::scheduling::pool::PoolUsage;

use crate::support::{Host, TestFunction, guest, run};

/// Replies its number of calls on this instance, by memory and global, and the size of its memory,
/// which it grows by a page.
const COUNTER: &str = r#"
    (global $count (mut i32) (i32.const 0))
    (data (i32.const 4096) "\05")
    (func $count_up
        (i32.store8 (i32.const 4096) (i32.add (i32.load8_u (i32.const 4096)) (i32.const 1)))
        (global.set $count (i32.add (global.get $count) (i32.const 1))))
    (func (export "run")
        (call $count_up)
        (drop (memory.grow (i32.const 1)))
        (call $reply_array (i32.const 3))
        (call $reply_int (i64.extend_i32_u (i32.load8_u (i32.const 4096))))
        (call $reply_int (i64.extend_i32_u (global.get $count)))
        (call $reply_int (i64.extend_i32_u (memory.size))))
    (func (export "fail") (call $count_up) unreachable)
    (func (export "silent") (call $count_up))
    (func (export "spin") (call $count_up) (loop $l (br $l)))
    (func (export "grow") (param $pages i32) (result i32)
        (memory.grow (local.get $pages)))
    (func (export "greedy")
        (if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then unreachable)))"#;

fn idle(function: &TestFunction) -> usize {
    let PoolUsage { idle, .. } = function.usage();
    idle
}

async fn call(host: &Host, function: &TestFunction, entry: &str, args: &[&str]) -> String {
    let args: Vec<_> = args.iter().map(|arg| arg.as_bytes()).collect();
    let name = format!("test.{entry}");
    let request = CallRequest::new(name.as_bytes(), &[], &args);
    host.request(Protocol::Resp3, function, &request).await.0
}

#[tokio::test]
async fn every_call_of_one_instance_starts_anew() {
    let host = Host::with_instances(1);
    let function = host.load(&guest(COUNTER));
    for _ in 0..20 {
        assert_eq!(host.call(&function, &[], &[]).await, "*3 :6 :1 :2");
        assert_eq!(idle(&function), 1);
    }
    assert_eq!(function.effective_isolation().isolation, Isolation::Rewind);
    assert_eq!(function.rewinding_differences(), 0);
    assert_eq!(
        function.idle_memory_bytes(),
        4096,
        "the page that calls write"
    );
}

#[tokio::test]
async fn what_cannot_be_rewound_is_fresh_and_says_why() {
    let host = Host::new();
    let function = host.load(&guest(
        r#"(table $t 4 funcref)
        (func (export "run") (table.set $t (i32.const 0) (ref.null func)))
        (func (export "size") (result i32) (table.grow $t (ref.null func) (i32.const 1)))"#,
    ));
    for _ in 0..3 {
        assert_eq!(call(&host, &function, "size", &[]).await, ":4");
    }
    let effective_isolation = function.effective_isolation();
    assert_eq!(effective_isolation.isolation, Isolation::Fresh);
    let reason = effective_isolation.reason.expect("there is a reason");
    assert!(reason.contains("table.set"), "{reason}");
    assert_eq!(function.idle_memory_bytes(), 0);
}

#[tokio::test]
async fn an_instance_that_did_not_return_is_dropped() {
    let host = Host::new();
    let function = host.load(&guest(COUNTER));
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :6 :1 :2");
    for _ in 0..3 {
        let reply = call(&host, &function, "fail", &[]).await;
        assert!(reply.starts_with("-TRAP "), "{reply}");
        assert_eq!(idle(&function), 0);
        assert_eq!(host.call(&function, &[], &[]).await, "*3 :6 :1 :2");
    }
    // A call that returned without a reply returned OK.
    let reply = call(&host, &function, "silent", &[]).await;
    assert_eq!(reply, "+OK");
    assert_eq!(idle(&function), 1);
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :6 :1 :2");
}

#[tokio::test]
async fn a_call_that_is_stopped_or_dropped_leaves_nothing() {
    let host = Host::new();
    let function = host.load_with(&guest(COUNTER), |spec| {
        // High limits, so that a slow machine makes no difference.
        spec.limits.fuel_max = u64::MAX >> 1;
        spec.limits.time_max = Duration::from_secs(600);
    });
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :6 :1 :2");
    let mut request = CallRequest::new(b"test.spin", &[], &[]);
    request.timeout = Some(Duration::from_millis(1));
    let (reply, _) = host.request(Protocol::Resp3, &function, &request).await;
    assert!(reply.starts_with("-TIMEOUT "), "{reply}");
    assert_eq!(idle(&function), 0);
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :6 :1 :2");

    let request = CallRequest::new(b"test.spin", &[], &[]);
    let spinning = host.request(Protocol::Resp3, &function, &request);
    // The guest yields after its first turn, and is dropped there.
    tokio::select! {
        biased;
        _ = spinning => panic!("it spins for ever"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(idle(&function), 0);
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :6 :1 :2");
    assert_eq!(function.rewinding_differences(), 0);
}

#[tokio::test]
async fn growth_is_what_the_module_would_see_without_us() {
    let host = Host::new();
    let wat = guest(COUNTER);
    let fresh = host.load_with(&wat, |spec| spec.isolation = Isolation::Fresh);
    let rewound = host.load(&wat);
    // The limit of 16 MiB is 256 pages.
    for pages in ["0", "1", "63", "64", "65", "255", "256", "65536", "-1"] {
        let [a, b] = [
            call(&host, &fresh, "grow", &[pages]).await,
            call(&host, &rewound, "grow", &[pages]).await,
        ];
        assert_eq!(a, b, "{pages} pages");
        let expected = if pages == "256" || pages == "65536" || pages == "-1" {
            ":-1"
        } else {
            ":1"
        };
        assert_eq!(a, expected, "{pages} pages");
    }
    for function in [&fresh, &rewound] {
        let reply = call(&host, function, "greedy", &[]).await;
        assert_eq!(
            reply,
            "-MEMORY the function wanted 131137536 bytes of memory, its limit is 16777216; raise max_memory, or use less"
        );
        assert_eq!(host.call(function, &[], &[]).await, "*3 :6 :1 :2");
    }
}

#[tokio::test]
async fn a_refused_growth_is_forgotten_by_the_next_call() {
    let host = Host::new();
    let function = host.load_reusing(&guest(COUNTER));
    assert_eq!(call(&host, &function, "grow", &["2000"]).await, ":-1");
    let reply = call(&host, &function, "fail", &[]).await;
    assert!(reply.starts_with("-TRAP "), "{reply}");
}

#[tokio::test]
async fn a_module_that_always_grows_is_rewound_all_the_same() {
    let host = Host::with_instances(1);
    let function = host.load(&guest(COUNTER));
    for _ in 0..24 {
        assert_eq!(call(&host, &function, "grow", &["100"]).await, ":1");
        assert_eq!(idle(&function), 1);
    }
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :6 :1 :2");
    assert_eq!(function.effective_isolation().isolation, Isolation::Rewind);
    assert_eq!(function.rewinding_differences(), 0);
}

/// Loads and stores past the end of a memory that can grow, before growth and after it.
#[tokio::test]
async fn the_bounds_are_those_of_the_guest() {
    const EDGE: &str = r#"
        (func (export "load") (param $grow i32) (param $at i32) (result i32)
            (drop (memory.grow (local.get $grow)))
            (i32.load (local.get $at)))
        (func (export "store") (param $grow i32) (param $at i32) (result i32)
            (drop (memory.grow (local.get $grow)))
            (i32.store (local.get $at) (i32.const 7))
            (i32.load (local.get $at)))
        (func (export "fill") (param $grow i32) (param $at i32) (result i32)
            (drop (memory.grow (local.get $grow)))
            (memory.fill (local.get $at) (i32.const 1) (i32.const 4))
            (i32.load8_u (local.get $at)))
        (func (export "copy") (param $grow i32) (param $at i32) (result i32)
            (drop (memory.grow (local.get $grow)))
            (memory.copy (i32.const 0) (local.get $at) (i32.const 4))
            (i32.const 0))
        (func (export "host") (param $grow i32) (param $at i32) (result i32)
            (drop (memory.grow (local.get $grow)))
            (call $random (local.get $at) (i32.const 4))
            (i32.const 0))"#;
    let host = Host::new();
    let wat = guest(EDGE).replacen("\"memory\") 1)", "\"memory\") 1 40)", 1);
    for isolation in Isolation::ALL {
        // The fifth page and those after it are over the limit.
        let function = host.load_with(&wat, |spec| {
            spec.isolation = isolation;
            spec.limits.memory_bytes_max = 4 * 65_536;
        });
        for _ in 0..3 {
            for (entry, result) in [
                ("load", ":0"),
                ("store", ":7"),
                ("fill", ":1"),
                ("copy", ":0"),
                ("host", ":0"),
            ] {
                for (grow, pages) in [(0, 1), (1, 2), (3, 4), (4, 1), (0, 1)] {
                    let (grow, end) = (grow.to_string(), pages * 65_536);
                    // Every call of `reuse` would see the growth of the calls before.
                    if isolation == Isolation::Reuse && pages > 1 {
                        continue;
                    }
                    for at in [end - 3, end, end + 4092, 5 * 65_536, 64 * 65_536] {
                        let reply = call(&host, &function, entry, &[&grow, &at.to_string()]).await;
                        assert!(
                            reply.starts_with("-TRAP ") || reply.starts_with("-MEMORY "),
                            "{isolation} {entry} {grow} {at}: {reply}"
                        );
                    }
                    let at = (end - 4).to_string();
                    let reply = call(&host, &function, entry, &[&grow, &at]).await;
                    assert_eq!(reply, result, "{isolation} {entry} {grow} {at}");
                }
            }
        }
        assert_eq!(function.rewinding_differences(), 0);
    }
}

#[tokio::test]
async fn traps_name_the_place_in_the_source() {
    let host = Host::new();
    let wat = guest(
        r#"(global $g (mut i32) (i32.const 0))
        (func $grow (result i32) (memory.grow (i32.const 1)))
        (func $deep (call $deep) (drop (memory.grow (i32.const 1))))
        (func (export "run") (drop (call $grow)) (drop (call $grow)) unreachable)
        (func (export "deep") (call $deep))"#,
    );
    let source = ferrite_compiler::to_wasm(wat.as_bytes(), &Default::default()).expect("a module");
    let offset = source
        .windows(7)
        .position(|bytes| bytes[0] == 0x10 && bytes[2] == 0x1a && bytes[6] == 0)
        .expect("two calls and their drops")
        + 6;
    for isolation in Isolation::ALL {
        let function = host.load_with(&wat, |spec| spec.isolation = isolation);
        let reply = host.call(&function, &[], &[]).await;
        assert!(
            reply.contains(&format!("at offset {offset:#x}: unreachable")),
            "{offset:#x}: {reply}"
        );
        let reply = call(&host, &function, "deep", &[]).await;
        assert!(
            reply.contains("in wasm function \"deep\""),
            "{isolation}: {reply}"
        );
    }
}

#[tokio::test]
async fn initialisation_runs_once_for_all_calls() {
    let host = Host::new();
    let function = host.load(&guest(
        r#"(global $ready (mut i32) (i32.const 0))
        (func $start (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
        (start $start)
        (func (export "_initialize")
            (call $random (i32.const 64) (i32.const 8))
            (drop (memory.grow (i32.const 3)))
            (global.set $ready (i32.const 7)))
        (func (export "run")
            (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 100)))
            (call $reply_array (i32.const 4))
            (call $reply_int (i64.extend_i32_u (i32.load (i32.const 0))))
            (call $reply_int (i64.extend_i32_u (global.get $ready)))
            (call $reply_int (i64.extend_i32_u (memory.size)))
            (call $reply_int (i64.load (i32.const 64))))"#,
    ));
    let first = host.call(&function, &[], &[]).await;
    assert!(first.starts_with("*4 :101 :7 :4 :"), "{first}");
    assert!(!first.ends_with(":0"), "random bytes: {first}");
    for _ in 0..3 {
        assert_eq!(host.call(&function, &[], &[]).await, first);
    }
    // Other instances of the function start there too.
    assert_eq!(function.drain(), 1);
    assert_eq!(host.call(&function, &[], &[]).await, first);
}

#[tokio::test]
async fn an_initialiser_that_asks_for_the_call_runs_in_each() {
    let host = Host::new();
    let function = host.load(&guest(
        r#"(func (export "_initialize")
            (drop (call $arg (i32.const 0) (i32.const 16) (i32.const 8))))
        (func (export "run") (call $reply_bulk (i32.const 16) (i32.const 3)))"#,
    ));
    for arg in ["one", "two", "six"] {
        let reply = host.call(&function, &[], &[arg]).await;
        assert_eq!(reply, format!("$3 {arg}"));
    }
    let effective_isolation = function.effective_isolation();
    assert_eq!(effective_isolation.isolation, Isolation::Fresh);
    let reason = effective_isolation.reason.expect("there is a reason");
    assert!(reason.contains("calls arg"), "{reason}");
}

#[tokio::test]
async fn a_memory_that_is_not_exported_is_rewound_too() {
    let host = Host::with_instances(1);
    let function = host.load(
        r#"(module (memory 1)
            (func (export "run") (result i32)
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
                (i32.load (i32.const 0))))"#,
    );
    for _ in 0..3 {
        assert_eq!(host.call(&function, &[], &[]).await, ":1");
    }
}

#[tokio::test]
async fn random_bytes_reach_pages_that_are_protected() {
    let host = Host::with_instances(1);
    let function = host.load(&run(r#"(call $random (i32.const 4000) (i32.const 20000))
        (call $reply_int (i64.load (i32.const 20000)))"#));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let reply = host.call(&function, &[], &[]).await;
        assert!(reply.starts_with(':') && reply != ":0", "{reply}");
        assert!(!seen.contains(&reply));
        seen.push(reply);
    }
    assert_eq!(function.rewinding_differences(), 0);
}

#[tokio::test]
async fn a_profile_shows_the_memory_that_the_guest_sees() {
    let host = Host::new();
    for isolation in Isolation::ALL {
        let function = host.load_with(&guest(COUNTER), |spec| spec.isolation = isolation);
        let mut request = CallRequest::new(b"test", &[], &[]);
        request.profile = true;
        let (_, outcome) = host.request(Protocol::Resp3, &function, &request).await;
        let profile = outcome.profile.expect("it was asked for");
        assert_eq!(profile.memory_bytes, 2 * 65_536, "{isolation}");
    }
}

#[tokio::test]
async fn instances_are_rewound_before_they_are_needed() {
    let host = Host::new();
    let function = host.load_with(&guest(COUNTER), |spec| spec.pool.instances_min = 3);
    host.runtime
        .prewarm(&function)
        .await
        .expect("they can be made");
    assert_eq!(idle(&function), 3);
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :6 :1 :2");
    assert_eq!(idle(&function), 3);
}

#[tokio::test]
async fn idle_instances_make_room_for_others_functions() {
    let host = Host::with_instances(2);
    let functions: Vec<_> = (0..4).map(|_| host.load(&guest(COUNTER))).collect();
    for function in functions.iter().chain(&functions) {
        assert_eq!(host.call(function, &[], &[]).await, "*3 :6 :1 :2");
    }
}
