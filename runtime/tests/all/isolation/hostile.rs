//! Guests that try to break rewinding, and many calls of harmless ones.

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::instance::engine::EngineOptions;
use ferrite_runtime::policy::function_spec::Isolation;

use crate::support::{Host, TestFunction, guest};

/// Mappings of this process.
fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .expect("this is Linux")
        .lines()
        .count()
}

/// Bytes of memory that this process uses.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("the second number is the pages in use");
    pages * 4096
}

/// Writes as its arguments say; every entry answers 0 if its memory was as new.
const WRITER: &str = r#"
    (global $calls (mut i32) (i32.const 0))
    ;; Whether all of the first 60 pages (of 4 KiB) begin with a zero, and nobody was here before.
    (func $as_new (result i32) (local $page i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.or (local.get $sum)
                (i32.load (i32.shl (local.get $page) (i32.const 12)))))
            (local.set $page (i32.add (local.get $page) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $page) (i32.const 60))))
        (local.set $sum (i32.or (local.get $sum) (global.get $calls)))
        (global.set $calls (i32.const 1))
        (local.get $sum))
    ;; Writes a byte on every $step-th page, $count times.
    (func $touch (param $count i32) (param $step i32) (local $page i32)
        (loop $next
            (i32.store8 (i32.shl (local.get $page) (i32.const 12)) (i32.const 1))
            (local.set $page (i32.add (local.get $page) (local.get $step)))
            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
            (br_if $next (local.get $count))))
    (func (export "touch") (param $count i32) (param $step i32) (result i32)
        (call $as_new) (call $touch (local.get $count) (local.get $step)))
    ;; Grows by $pages and writes into the last byte of it all.
    (func (export "grow") (param $pages i32) (result i32)
        (call $as_new)
        (if (i32.ne (memory.grow (local.get $pages)) (i32.const -1))
            (then (i32.store8
                (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 1)) (i32.const 7)))))
    ;; Reads and writes where its memory may have ended.
    (func (export "peek") (param $at i32) (result i32)
        (local $old i32)
        (local.set $old (i32.load (local.get $at)))
        (i32.store (local.get $at) (i32.const -1))
        (local.get $old))
    ;; Lets the host write an argument over many protected pages.
    (func (export "copy") (param $to i32) (param $len i32) (result i32)
        (call $as_new)
        (drop (call $arg (i32.const 0) (local.get $to) (local.get $len)))
        (call $random (local.get $to) (local.get $len))
        (memory.copy (i32.const 8190) (local.get $to) (i32.const 9000))
        (memory.fill (i32.const 40000) (i32.const 9) (i32.const 10000)))
    (func (export "trap") (param $page i32) (result i32)
        (i32.store8 (i32.shl (local.get $page) (i32.const 12)) (i32.const 1))
        unreachable)
    (func (export "noop") (result i32) (call $as_new))"#;

fn writer() -> String {
    guest(WRITER).replacen(
        "(memory (export \"memory\") 1)",
        "(memory (export \"memory\") 16)",
        1,
    )
}

async fn call(host: &Host, function: &TestFunction, entry: &str, args: &[&str]) -> String {
    let args: Vec<_> = args.iter().map(|arg| arg.as_bytes()).collect();
    let name = format!("test.{entry}");
    let request = CallRequest::new(name.as_bytes(), &[], &args);
    host.request(Protocol::Resp3, function, &request).await.0
}

#[tokio::test]
async fn a_guest_that_writes_every_page_leaves_none() {
    let host = Host::with_instances(4);
    let function = host.load(&writer());
    for round in 0..40 {
        // 256 pages in one run, 128 apart from each other, and a few.
        for (count, step) in [("256", "1"), ("128", "2"), ("64", "4"), ("5", "50")] {
            let reply = call(&host, &function, "touch", &[count, step]).await;
            assert_eq!(reply, ":0", "round {round}, {count} pages, every {step}");
        }
    }
    assert_eq!(function.effective_isolation().isolation, Isolation::Rewind);
    assert_eq!(function.rewinding_differences(), 0);
}

#[tokio::test]
async fn growth_is_no_way_out() {
    let host = Host::with_instances(4);
    let function = host.load_with(&writer(), |spec| spec.limits.memory_bytes_max = 8 << 20);
    for _ in 0..3 {
        for pages in ["63", "64", "65", "112", "113", "0"] {
            let reply = call(&host, &function, "grow", &[pages]).await;
            assert_eq!(reply, ":0", "{pages}");
            let reply = call(&host, &function, "noop", &[]).await;
            assert_eq!(reply, ":0", "after {pages}");
        }
        // Behind the memory, where others have grown.
        for at in ["1048573", "1048576", "2000000", "5242876", "8388608"] {
            let reply = call(&host, &function, "peek", &[at]).await;
            assert!(reply.starts_with("-TRAP "), "{at}: {reply}");
        }
        assert_eq!(call(&host, &function, "peek", &["1048572"]).await, ":0");
    }
    assert_eq!(function.rewinding_differences(), 0);
}

#[tokio::test]
async fn faults_inside_copies_of_the_host_are_ours() {
    let host = Host::with_instances(4);
    let function = host.load(&writer());
    for (to, len) in [("4090", "100"), ("65530", "70000"), ("0", "200000")] {
        for _ in 0..3 {
            assert_eq!(call(&host, &function, "copy", &[to, len]).await, ":0");
        }
    }
    // An access beyond the memory is an error, and costs only the instance.
    for (to, len) in [("1048570", "100"), ("-10", "100"), ("0", "-1")] {
        let reply = call(&host, &function, "copy", &[to, len]).await;
        assert!(reply.starts_with("-TRAP "), "{to} {len}: {reply}");
        assert_eq!(call(&host, &function, "noop", &[]).await, ":0");
    }
    assert_eq!(function.rewinding_differences(), 0);
}

#[tokio::test]
async fn thousands_of_instances_are_small() {
    const INSTANCES: usize = 3000;
    let host = Host::with_options(&EngineOptions {
        instances_max: INSTANCES as u32,
        ..EngineOptions::default()
    });
    let function = host.load_with(&writer(), |spec| {
        spec.pool.instances_max = INSTANCES;
        spec.pool.instances_min = INSTANCES;
    });
    let (mappings_before, resident_before) = (mappings(), resident_bytes());
    assert_eq!(
        call(&host, &function, "touch", &["3", "7"]).await,
        ":0",
        "what it writes is known to those that follow"
    );
    host.runtime.prewarm(&function).await.expect("they fit");
    assert_eq!(function.usage().idle, INSTANCES);
    let mappings_each = (mappings() - mappings_before) / INSTANCES;
    let resident_each = (resident_bytes() - resident_before) / INSTANCES as u64;
    assert!(mappings_each <= 10, "{mappings_each} mappings an instance");
    assert!(
        resident_each < 64 << 10,
        "{resident_each} bytes an instance"
    );
    for _ in 0..20 {
        assert_eq!(call(&host, &function, "touch", &["3", "7"]).await, ":0");
    }
    assert_eq!(function.drain(), INSTANCES);
    assert!(mappings() < mappings_before + 200);
}

/// `FERRITE_REWIND_SOAK` sets the number of rounds; the default keeps the test short.
#[tokio::test]
async fn neither_mappings_nor_memory_rise_with_the_calls() {
    let rounds = std::env::var("FERRITE_REWIND_SOAK")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(300_u32);
    let host = Host::with_instances(16);
    let functions: Vec<_> = (0..6).map(|_| host.load(&writer())).collect();
    let mut warm = None;
    for round in 0..rounds {
        for function in &functions {
            assert_eq!(call(&host, function, "touch", &["9", "3"]).await, ":0");
            assert_eq!(call(&host, function, "grow", &["3"]).await, ":0");
            if round % 7 == 0 {
                assert_eq!(call(&host, function, "touch", &["100", "2"]).await, ":0");
                assert_eq!(call(&host, function, "grow", &["100"]).await, ":0");
                let reply = call(&host, function, "trap", &["40"]).await;
                assert!(reply.starts_with("-TRAP "), "{reply}");
            }
        }
        let now = (mappings(), resident_bytes());
        if round == rounds / 3 {
            warm = Some(now);
        }
        if let Some((mappings, resident)) = warm {
            assert!(now.0 <= mappings + 64, "{mappings} mappings, now {}", now.0);
            assert!(
                now.1 <= resident + (8 << 20),
                "{resident} bytes, now {}",
                now.1
            );
        }
    }
    for function in &functions {
        assert_eq!(function.rewinding_differences(), 0);
    }
}
