//! Calls of one function see nothing of each other when fresh, everything when reused.

use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::scheduling::pool::PoolUsage;

use crate::support::{Host, guest};

/// Replies its number of calls on this instance, by memory, global and table.
const COUNTER: &str = r#"
    (global $count (mut i32) (i32.const 0))
    (table $table 1 100 funcref)
    (func (export "run")
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (drop (table.grow $table (ref.null func) (i32.const 1)))
        (call $reply_array (i32.const 3))
        (call $reply_int (i64.extend_i32_u (i32.load (i32.const 8))))
        (call $reply_int (i64.extend_i32_u (global.get $count)))
        (call $reply_int (i64.extend_i32_u (table.size $table))))
    (func (export "fail")
        (i32.store (i32.const 8) (i32.const 1000))
        unreachable)
    (func (export "silent")
        (i32.store (i32.const 8) (i32.const 2000)))"#;

/// Takes a page more in each call, and replies how many it has.
const GROWING: &str = r#"
    (func (export "run")
        (drop (memory.grow (i32.const 1)))
        (call $reply_int (i64.extend_i32_u (memory.size))))"#;

#[tokio::test]
async fn nothing_survives_a_fresh_call() {
    let host = Host::new();
    let function = host.load_with(&guest(COUNTER), |spec| spec.isolation = Isolation::Fresh);
    for _ in 0..20 {
        assert_eq!(host.call(&function, &[], &[]).await, "*3 :1 :1 :2");
    }
}

#[tokio::test]
async fn no_byte_of_memory_survives() {
    for isolation in [Isolation::Fresh, Isolation::Rewind] {
        no_byte_of_memory_survives_under(isolation).await;
    }
}

async fn no_byte_of_memory_survives_under(isolation: Isolation) {
    let host = Host::with_instances(1);
    // Fills all of four pages after counting the bytes that are not 0.
    let function = host.load_with(
        r#"(module
            (memory (export "memory") 4)
            (func (export "run") (result i32) (local $at i32) (local $dirty i32)
                (loop $l
                    (if (i32.load8_u (local.get $at))
                        (then (local.set $dirty (i32.add (local.get $dirty) (i32.const 1)))))
                    (i32.store8 (local.get $at) (i32.const 0xaa))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br_if $l (i32.lt_u (local.get $at) (i32.const 262144))))
                (local.get $dirty)))"#,
        |spec| spec.isolation = isolation,
    );
    for _ in 0..20 {
        assert_eq!(host.call(&function, &[], &[]).await, ":0");
    }
}

#[tokio::test]
async fn scattered_writes_are_undone_too() {
    for isolation in [Isolation::Fresh, Isolation::Rewind] {
        scattered_writes_are_undone_under(isolation).await;
    }
}

async fn scattered_writes_are_undone_under(isolation: Isolation) {
    let host = Host::with_instances(1);
    // Adds one to bytes all over a memory whose second half has contents, and returns their sum.
    let data = "\\07".repeat(300_000);
    let wat = format!(
        r#"(module
            (memory (export "memory") 10)
            (data (i32.const 330000) "{data}")
            (func (export "run") (param $step i32) (result i32)
                (local $at i32) (local $sum i32)
                (loop $l
                    (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
                    (i32.store8 (local.get $at)
                        (i32.add (i32.load8_u (local.get $at)) (i32.const 1)))
                    (local.set $at (i32.add (local.get $at) (local.get $step)))
                    (br_if $l (i32.lt_u (local.get $at) (i32.const 655360))))
                (local.get $sum)))"#
    );
    let function = host.load_with(&wat, |spec| spec.isolation = isolation);
    for step in [300_007, 100_003, 50_021, 4_099, 511] {
        let touched = (0..655_360).step_by(step);
        let sum: usize = touched
            .filter(|at| (330_000..630_000).contains(at))
            .map(|_| 7)
            .sum();
        for _ in 0..3 {
            let reply = host.call(&function, &[], &[&step.to_string()]).await;
            assert_eq!(reply, format!(":{sum}"), "every {step} bytes");
        }
    }
}

#[tokio::test]
async fn a_reused_instance_keeps_its_memory() {
    let host = Host::new();
    let function = host.load_reusing(&guest(COUNTER));
    for call in 1..=5 {
        let expected = format!("*3 :{call} :{call} :{}", call + 1);
        assert_eq!(host.call(&function, &[], &[]).await, expected);
    }
    let usage = function.usage();
    assert_eq!(
        usage,
        PoolUsage {
            running: 0,
            waiting: 0,
            idle: 1,
            started: 5
        }
    );
    assert_eq!(function.idle_memory_bytes(), 65_536);
}

#[tokio::test]
async fn an_instance_that_trapped_is_not_reused() {
    let host = Host::new();
    let function = host.load_reusing(&guest(COUNTER));
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :1 :1 :2");
    let request = ferrite_runtime::call::request::CallRequest::new(b"test.fail", &[], &[]);
    let protocol = ferrite_protocol::resp::Protocol::Resp2;
    let (reply, _) = host.request(protocol, &function, &request).await;
    assert!(reply.starts_with("-TRAP "), "{reply}");
    assert_eq!(function.usage().idle, 0);
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :1 :1 :2");
    // A call that returned without a reply returned OK.
    let request = ferrite_runtime::call::request::CallRequest::new(b"test.silent", &[], &[]);
    let (reply, _) = host.request(protocol, &function, &request).await;
    assert_eq!(reply, "+OK");
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :2001 :2 :3");
}

#[tokio::test]
async fn an_instance_that_takes_more_with_each_call_is_replaced_before_it_reaches_its_limit() {
    let host = Host::new();
    let function = host.load_with(&guest(GROWING), |spec| {
        spec.isolation = Isolation::Reuse;
        spec.limits.memory_bytes_max = 8 << 16;
    });
    for _ in 0..5 {
        for call in 1..=6 {
            let reply = host.call(&function, &[], &[]).await;
            assert_eq!(reply, format!(":{}", call + 1));
        }
    }
}

#[tokio::test]
async fn functions_of_one_source_share_nothing() {
    let host = Host::new();
    let one = host.load_reusing(&guest(COUNTER));
    let other = host.load_reusing(&guest(COUNTER));
    assert_eq!(host.call(&one, &[], &[]).await, "*3 :1 :1 :2");
    assert_eq!(host.call(&one, &[], &[]).await, "*3 :2 :2 :3");
    assert_eq!(host.call(&other, &[], &[]).await, "*3 :1 :1 :2");
}

#[tokio::test]
async fn idle_instances_make_room_for_other_functions() {
    let host = Host::with_instances(2);
    let functions: Vec<_> = (0..4).map(|_| host.load_reusing(&guest(COUNTER))).collect();
    for function in &functions {
        assert_eq!(host.call(function, &[], &[]).await, "*3 :1 :1 :2");
    }
}

#[tokio::test]
async fn instances_are_made_before_they_are_needed() {
    let host = Host::new();
    let function = host.load_with(&guest(COUNTER), |spec| {
        spec.isolation = Isolation::Reuse;
        spec.pool.instances_min = 3;
    });
    host.runtime
        .prewarm(&function)
        .await
        .expect("they can be made");
    assert_eq!(function.usage().idle, 3);
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :1 :1 :2");
    assert_eq!(function.usage().idle, 3);
    assert_eq!(function.drain(), 3);
}
