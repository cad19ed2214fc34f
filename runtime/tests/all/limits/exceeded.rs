//! Functions that exceed their limits: each gets its own error, which names the limit.

use std::time::Duration;

use ferrite_runtime::policy::limits::Limits;

use crate::support::{Host, guest, run};

const LOOP: &str = r#"(module (func $spin (export "run") (loop $l (br $l))))"#;

#[tokio::test]
async fn an_endless_loop_ends_with_its_fuel() {
    let host = Host::new();
    let function = host.load_with(LOOP, |spec| spec.limits.fuel_max = 100_000);
    let reply = host.call(&function, &[], &[]).await;
    assert_eq!(
        reply,
        "-FUEL the call used up its 100000 units of fuel; raise max_fuel, or do less in one call"
    );
}

#[tokio::test]
async fn an_endless_loop_ends_with_its_time() {
    let host = Host::new();
    let function = host.load_with(LOOP, |spec| {
        spec.limits.fuel_max = u64::MAX >> 1;
        spec.limits.time_max = Duration::from_millis(20);
    });
    let reply = host.call(&function, &[], &[]).await;
    let elapsed: u64 = reply
        .strip_prefix("-TIMEOUT the call was ended after ")
        .and_then(|rest| {
            rest.strip_suffix(
                " ms, its limit is 20 ms; raise max_time or TIMEOUT, or do less in one call",
            )
        })
        .and_then(|elapsed| elapsed.parse().ok())
        .unwrap_or_else(|| panic!("{reply}"));
    assert!(elapsed >= 20, "{reply}");
}

#[tokio::test]
async fn a_timeout_can_only_shorten() {
    let host = Host::new();
    let function = host.load_with(LOOP, |spec| {
        spec.limits.fuel_max = u64::MAX >> 1;
        spec.limits.time_max = Duration::from_millis(30);
    });
    for (timeout, expected) in [(5, "its limit is 5 ms"), (60_000, "its limit is 30 ms")] {
        let mut request = ferrite_runtime::call::request::CallRequest::new(b"test", &[], &[]);
        request.timeout = Some(Duration::from_millis(timeout));
        let (reply, _) = host
            .request(ferrite_protocol::resp::Protocol::Resp2, &function, &request)
            .await;
        assert!(reply.contains(expected), "{reply}");
    }
}

/// A guest that sets `heavy`, which tells the work of its commit, to its argument.
fn heavy() -> String {
    guest(
        r#"(data (i32.const 0) "heavy")
        (func (export "run")
            (drop (call $set (i32.const 0) (i32.const 5)
                (i32.const 64) (call $arg (i32.const 0) (i32.const 64) (i32.const 64))
                (i32.const 0) (i64.const -1))))"#,
    )
}

#[tokio::test]
async fn a_commit_that_would_outlast_the_call_does_not_begin() {
    let host = Host::new();
    let function = host.load_with(&heavy(), |spec| {
        spec.limits.time_max = Duration::from_secs(60);
    });
    // Six seconds, and a millisecond and a half.
    for units in ["600000000", "150000"] {
        assert_eq!(host.call(&function, &[], &[units]).await, "+OK", "{units}");
        assert_eq!(host.keyspace.string("heavy").as_deref(), Some(units));
    }
    let function = host.load_with(&heavy(), |spec| {
        spec.limits.time_max = Duration::from_secs(5);
    });
    let reply = host.call(&function, &[], &["600000000"]).await;
    assert!(
        reply.starts_with("-TIMEOUT ") && reply.contains("can take 6000 ms and its limit is 5000"),
        "{reply}"
    );
    assert_eq!(host.keyspace.string("heavy").as_deref(), Some("150000"));
}

#[tokio::test]
async fn what_the_store_does_besides_is_paid_at_the_next_operation() {
    let guest = guest(
        r#"(func (export "run")
            (drop (call $get (i32.const 0) (i32.const 1) (i32.const 64) (i32.const 0)))
            (drop (call $get (i32.const 0) (i32.const 1) (i32.const 64) (i32.const 0)))
            (drop (call $get (i32.const 0) (i32.const 1) (i32.const 64) (i32.const 0))))"#,
    );
    let host = Host::new();
    let function = host.load(&guest);
    let request = ferrite_runtime::call::request::CallRequest::new(b"test", &[], &[]);
    let protocol = ferrite_protocol::resp::Protocol::Resp2;
    let (_, before) = host.request(protocol, &function, &request).await;
    host.keyspace.put("extra", "5000");
    let (_, after) = host.request(protocol, &function, &request).await;
    // The first one begins the transaction.
    assert_eq!(after.fuel - before.fuel, 2 * 5000);
}

#[tokio::test]
async fn growth_past_the_limit_is_refused_and_named_when_the_guest_gives_up() {
    let host = Host::new();
    let limit = |spec: &mut ferrite_runtime::policy::function_spec::FunctionSpec| {
        spec.limits.memory_bytes_max = 128 << 10;
    };
    let function = host.load_with(
        &run(r"
            (call $reply_array (i32.const 3))
            (call $reply_int (i64.extend_i32_s (memory.grow (i32.const 1))))
            (call $reply_int (i64.extend_i32_s (memory.grow (i32.const 1))))
            (call $reply_int (i64.extend_i32_s (memory.size)))"),
        limit,
    );
    assert_eq!(host.call(&function, &[], &[]).await, "*3 :1 :-1 :2");
    let function = host.load_with(
        &run(r"(if (i32.eq (memory.grow (i32.const 7)) (i32.const -1)) (then unreachable))"),
        limit,
    );
    assert_eq!(
        host.call(&function, &[], &[]).await,
        "-MEMORY the function wanted 524288 bytes of memory, its limit is 131072; raise max_memory, or use less"
    );
}

#[tokio::test]
async fn a_refusal_is_forgotten_with_its_call() {
    let host = Host::new();
    let function = host.load_with(
        &guest(
            r#"(func (export "run")
                (if (call $key_count) (then (drop (memory.grow (i32.const 100)))))
                (if (i32.eqz (call $key_count)) (then unreachable))
                (call $reply_null))"#,
        ),
        |spec| {
            spec.limits.memory_bytes_max = 128 << 10;
            spec.isolation = ferrite_runtime::policy::function_spec::Isolation::Reuse;
        },
    );
    assert_eq!(host.call(&function, &["k"], &[]).await, "_");
    let reply = host.call(&function, &[], &[]).await;
    assert!(reply.starts_with("-TRAP "), "{reply}");
}

#[tokio::test]
async fn table_growth_past_the_limit_is_refused() {
    let host = Host::new();
    let wat = r#"(module
        (table $t 1 funcref)
        (func (export "run") (result i32)
            (table.grow $t (ref.null func) (i32.const 100)))
        (func (export "give_up")
            (if (i32.eq (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1))
                (then unreachable))))"#;
    let function = host.load_with(wat, |spec| spec.limits.table_elements_max = 50);
    assert_eq!(host.call(&function, &[], &[]).await, ":-1");
    let request = ferrite_runtime::call::request::CallRequest::new(b"test.give_up", &[], &[]);
    let (reply, _) = host
        .request(ferrite_protocol::resp::Protocol::Resp2, &function, &request)
        .await;
    assert_eq!(
        reply,
        "-LIMIT the function wanted 101 table elements, its limit is 50; raise max_table_elements"
    );
}

#[tokio::test]
async fn unbounded_recursion_ends_with_the_stack() {
    let host = Host::new();
    let function = host.load(
        r#"(module (func $deeper (export "run") (param i32) (result i32)
            (i32.add (i32.const 1) (call $deeper (local.get 0)))))"#,
    );
    let reply = host.call(&function, &[], &["1"]).await;
    assert_eq!(
        reply,
        "-STACK in wasm function \"deeper\": calls nest too deep for the stack of 524288 bytes; recurse less"
    );
}

/// Takes frames of 1 KiB from a stack at the start of the memory, as LLVM's compilers do, until it
/// writes below the memory; or until it asks the host to.
fn on_a_linear_stack(used: &str) -> String {
    format!(
        r#"(module
        (import "ferrite" "log" (func $log (param i32 i32 i32)))
        (global $stack (mut i32) (i32.const 65536))
        (memory (export "memory") 2)
        (func $deeper (param $deep i32)
            (global.set $stack (i32.sub (global.get $stack) (i32.const 1024)))
            {used}
            (call $deeper (i32.add (local.get $deep) (i32.const 1))))
        (func (export "run") (call $deeper (i32.const 0))))"#
    )
}

#[tokio::test]
async fn the_end_of_a_stack_in_the_memory_is_one_of_the_stack() {
    let host = Host::new();
    for (used, expected) in [
        (
            "(i32.store (global.get $stack) (local.get $deep))",
            "-STACK in wasm function \"deeper\": the stack in the module's memory is used up; recurse less, keep large values elsewhere, or link with a larger one (-z stack-size)",
        ),
        (
            "(call $log (i32.const 0) (global.get $stack) (i32.const 4))",
            "-STACK in wasm function \"deeper\": the stack in the module's memory is used up; recurse less, keep large values elsewhere, or link with a larger one (-z stack-size)",
        ),
        // While there is room, an access out of bounds is one.
        (
            "(i32.store (i32.const -16) (local.get $deep))",
            "-TRAP in wasm function \"deeper\" at offset 0x60: out of bounds memory access",
        ),
    ] {
        let function = host.load(&on_a_linear_stack(used));
        assert_eq!(host.call(&function, &[], &[]).await, expected);
    }
}

#[tokio::test]
async fn a_reply_past_the_limit_is_refused() {
    let host = Host::new();
    let limit = |spec: &mut ferrite_runtime::policy::function_spec::FunctionSpec| {
        spec.limits.reply_bytes_max = 1000;
    };
    let expected = "-LIMIT the reply is longer than its limit of 1000 bytes; raise max_reply, or reply with less";
    for body in [
        "(call $reply_bulk (i32.const 0) (i32.const 1001))",
        "(call $reply_array (i32.const 1000)) (loop (call $reply_int (i64.const 1234)) (br 0))",
        "(call $reply_error (i32.const 0) (i32.const 1001))",
    ] {
        let function = host.load_with(&run(body), limit);
        assert_eq!(host.call(&function, &[], &[]).await, expected, "{body}");
    }
    let function = host.load_with(
        &run("(call $reply_bulk (i32.const 0) (i32.const 900))"),
        limit,
    );
    assert!(host.call(&function, &[], &[]).await.starts_with("$900"));
}

#[tokio::test]
async fn writes_past_the_limit_are_refused() {
    let host = Host::new();
    let function = host.load_with(
        &guest(
            r#"(data (i32.const 0) "k")
            (func (export "store") (param i32) (result i32)
                (call $set (i32.const 0) (i32.const 1) (i32.const 8) (local.get 0)
                    (i32.const 0) (i64.const -1)))"#,
        ),
        |spec| spec.limits.writes_bytes_max = 100,
    );
    for (len, expected) in [
        ("98", ":0"),
        ("99", ":0"),
        ("100", ":-20"),
        ("9999", ":-20"),
    ] {
        let args = [len.as_bytes()];
        let request = ferrite_runtime::call::request::CallRequest::new(b"test.store", &[], &args);
        let (reply, _) = host
            .request(ferrite_protocol::resp::Protocol::Resp2, &function, &request)
            .await;
        assert_eq!(reply, expected, "{len}");
    }
}

#[tokio::test]
async fn results_larger_than_memory_may_be_are_refused() {
    let host = Host::new();
    host.keyspace.put("k", &"x".repeat(200_000));
    let function = host.load_with(
        &guest(
            r#"(data (i32.const 0) "k") (func (export "run")
                (call $reply_int (i64.extend_i32_s
                    (call $get (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0)))))"#,
        ),
        |spec| spec.limits.memory_bytes_max = 128 << 10,
    );
    assert_eq!(host.call(&function, &[], &[]).await, ":-20");
}

#[tokio::test]
async fn fuel_is_counted() {
    let host = Host::new();
    let function = host.load(
        r#"(module (func (export "run") (param i32) (result i32)
            (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br_if 0 (local.get 0)))
            (local.get 0)))"#,
    );
    let mut used = Vec::new();
    for steps in ["1000", "2000"] {
        let args = [steps.as_bytes()];
        let request = ferrite_runtime::call::request::CallRequest::new(b"test", &[], &args);
        let (_, outcome) = host
            .request(ferrite_protocol::resp::Protocol::Resp2, &function, &request)
            .await;
        used.push(outcome.fuel);
    }
    let step = (used[1] - used[0]) / 1000;
    assert!((4..=8).contains(&step), "{used:?}");
}

/// A function that looks at its fuel nowhere, because it is short, is held to its limit when it ends.
#[tokio::test]
async fn the_fuel_of_a_short_function_is_limited_to_the_unit() {
    let body = format!(
        r#"(data (i32.const 0) "k") (func (export "run") (local i32)
            (drop (call $set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)
                (i32.const 0) (i64.const -1)))
            {})"#,
        "(local.set 0 (i32.add (local.get 0) (i32.const 1)))".repeat(300)
    );
    let wat = guest(&body);
    let request = ferrite_runtime::call::request::CallRequest::new(b"test", &[], &[]);
    let resp = ferrite_protocol::resp::Protocol::Resp2;
    let host = Host::new();
    let function = host.load(&wat);
    let used = host.request(resp, &function, &request).await.1.fuel;
    assert!(used > 1_200, "{used}");
    for (fuel_max, suffices) in [(used - 1, false), (used, true)] {
        let host = Host::new();
        let function = host.load_with(&wat, |spec| spec.limits.fuel_max = fuel_max);
        let (reply, _) = host.request(resp, &function, &request).await;
        assert_eq!(!reply.starts_with("-FUEL"), suffices, "{reply}");
        assert_eq!(host.keyspace.string("k").is_some(), suffices, "{fuel_max}");
    }
}

#[test]
fn tables_are_bounded_alike_by_the_compiler_and_the_engine() {
    let bounds = ferrite_compiler::SourceLimits::default();
    assert_eq!(bounds.table_elements_max, Limits::TABLE_ELEMENTS_END);
    assert_eq!(
        bounds.tables_max,
        ferrite_runtime::instance::engine::TABLES_PER_MODULE_MAX
    );
}

#[tokio::test]
async fn the_limit_on_table_elements_is_for_all_tables_together() {
    let host = Host::new();
    let wat = r#"(module
        (table $one 5 funcref) (table $two 5 funcref)
        (func (export "run") (param i32) (result i32)
            (table.grow $two (ref.null func) (local.get 0))
            (if (result i32) (i32.eq (i32.const -1)) (then unreachable) (else (i32.const 1)))))"#;
    let function = host.load_with(wat, |spec| spec.limits.table_elements_max = 20);
    assert_eq!(host.call(&function, &[], &["10"]).await, ":1");
    let reply = host.call(&function, &[], &["11"]).await;
    assert_eq!(
        reply,
        "-LIMIT the function wanted 21 table elements, its limit is 20; raise max_table_elements"
    );
}
