//! The limit on call depth is met exactly, with every isolation, and by every call from zero.

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::error::Code;
use ferrite_runtime::policy::function_spec::Isolation;

use crate::store_heavy::{Choices, ENTRIES, module};
use crate::support::{Host, TestFunction, counting_artifact, guest, spec};

/// Calls itself the given number of times, so it nests one level deeper.
const DOWN: &str = r#"(module (memory 1) (global $calls (mut i32) (i32.const 0))
    (func $down (export "run") (param i32) (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 0)))))"#;

async fn call(host: &Host, function: &TestFunction, entry: &str, args: &[&str]) -> String {
    let args: Vec<_> = args.iter().map(|arg| arg.as_bytes()).collect();
    let name = format!("test.{entry}");
    let request = CallRequest::new(name.as_bytes(), &[], &args);
    host.request(Protocol::Resp3, function, &request).await.0
}

fn too_deep(function: &str, limit: u32) -> String {
    format!(
        "-STACK in wasm function \"{function}\": calls nest {} deep, the limit is {limit}; raise max_stack_depth, or recurse less",
        limit + 1
    )
}

#[tokio::test]
async fn the_limit_is_met_exactly_and_by_every_call_anew() {
    let host = Host::with_instances(1);
    for isolation in Isolation::ALL {
        let function = host.load_with(DOWN, |spec| {
            spec.isolation = isolation;
            spec.limits.stack_depth_max = Some(100);
        });
        assert_eq!(function.effective_isolation().isolation, isolation);
        for _ in 0..3 {
            for _ in 0..3 {
                assert_eq!(host.call(&function, &[], &["99"]).await, ":99");
            }
            let reply = host.call(&function, &[], &["100"]).await;
            assert_eq!(reply, too_deep("down", 100), "{isolation}");
        }
        assert_eq!(function.rewinding_differences(), 0);
    }
}

#[tokio::test]
async fn a_limit_of_one_allows_functions_that_call_none() {
    let host = Host::new();
    let function = host.load_with(
        r#"(module (func $leaf (result i32) i32.const 4)
            (func $calls (result i32) call $leaf)
            (func (export "flat") (result i32) call $leaf)
            (func (export "nested") (result i32) call $calls))"#,
        |spec| spec.limits.stack_depth_max = Some(1),
    );
    assert_eq!(call(&host, &function, "flat", &[]).await, ":4");
    let reply = call(&host, &function, "nested", &[]).await;
    assert_eq!(reply, too_deep("calls", 1));
}

#[tokio::test]
async fn what_runs_first_has_the_limit_too() {
    let host = Host::new();
    // If the table changes, rewinding does not run the start function.
    for extra in ["", "(table.set $t (i32.const 0) (ref.null func))"] {
        for first in ["(start $first)", "(export \"_initialize\" (func $first))"] {
            let wat = format!(
                r#"(module (table $t 1 funcref) (memory 1) (global $seen (mut i32) (i32.const 0))
                    (func $note (global.set $seen (i32.const 5)))
                    (func $inner call $note {extra})
                    (func $first call $inner)
                    {first}
                    (func (export "run") (result i32) global.get $seen))"#
            );
            for isolation in Isolation::ALL {
                let load = |depth| {
                    host.load_with(&wat, |spec| {
                        spec.isolation = isolation;
                        spec.limits.stack_depth_max = Some(depth);
                    })
                };
                for _ in 0..2 {
                    let reply = host.call(&load(1), &[], &[]).await;
                    assert_eq!(reply, too_deep("inner", 1), "{isolation} {wat}");
                    assert_eq!(
                        host.call(&load(2), &[], &[]).await,
                        ":5",
                        "{isolation} {wat}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_module_whose_start_ran_beforehand_has_the_whole_limit() {
    let host = Host::new();
    let function = host.load_with(
        r#"(module (memory 1) (global $seen (mut i32) (i32.const 0))
            (func $down (param i32) (result i32)
                (if (result i32) (local.get 0)
                    (then (call $down (i32.sub (local.get 0) (i32.const 1))))
                    (else (i32.const 7))))
            (func (export "__preinit"))
            (func (export "_initialize") (global.set $seen (call $down (i32.const 500))))
            (func (export "seen") (result i32) global.get $seen)
            (func (export "run") (param i32) (result i32) (call $down (local.get 0))))"#,
        |spec| spec.limits.stack_depth_max = Some(10),
    );
    assert!(!function.manifest().module.initialize, "it has run");
    assert_eq!(call(&host, &function, "seen", &[]).await, ":7");
    assert_eq!(call(&host, &function, "run", &["8"]).await, ":7");
    assert_eq!(
        call(&host, &function, "run", &["9"]).await,
        too_deep("down", 10)
    );
}

#[tokio::test]
async fn host_functions_and_buffers_do_not_count() {
    let host = Host::new();
    let function = host.load_with(
        &guest(
            r#"(global $next (mut i32) (i32.const 4096))
            (func $bump (param i32) (result i32)
                (global.get $next)
                (global.set $next (i32.add (global.get $next) (local.get 0))))
            (func (export "alloc") (param i32) (result i32) (call $bump (local.get 0)))
            (data (i32.const 0) ":1\0d\0a")
            (func $entry (param i32 i32) (result i64)
                (drop (call $time_millis)) (i64.const 4))
            (func (export "run") (param i32 i32) (result i64)
                (call $entry (local.get 0) (local.get 1)))"#,
        ),
        |spec| {
            spec.isolation = Isolation::Reuse;
            spec.limits.stack_depth_max = Some(1);
        },
    );
    for _ in 0..3 {
        assert_eq!(host.call(&function, &[], &["x"]).await, ":1");
    }
}

#[tokio::test]
async fn code_that_does_not_count_is_refused_with_a_limit_and_the_other_way_taken() {
    let host = Host::new();
    let mut limited = spec();
    limited.limits.stack_depth_max = Some(5);
    let plain = crate::support::artifact(DOWN);
    let error = host.runtime.hold(&plain, limited).expect_err("refused");
    assert_eq!(error.code(), Code::NoArtifact);
    assert_eq!(
        error.text(),
        "the code does not count how deep its calls nest, which max_stack_depth needs; compile it with ferrite-wasmc compile --stack-depth"
    );
    let function = host
        .runtime
        .hold(&counting_artifact(DOWN), spec())
        .expect("it serves as well");
    assert_eq!(host.call(&function, &[], &["1000"]).await, ":1000");
    let endless = host
        .runtime
        .hold(
            &counting_artifact(
                r#"(module (func $deeper (export "run") (param i32) (result i32)
                    (i32.add (i32.const 1) (call $deeper (local.get 0)))))"#,
            ),
            spec(),
        )
        .expect("it serves as well");
    assert_eq!(
        host.call(&endless, &[], &["1"]).await,
        "-STACK in wasm function \"deeper\": calls nest too deep for the stack of 524288 bytes; recurse less"
    );
}

#[tokio::test]
async fn counting_costs_the_fuel_of_eleven_instructions_a_call() {
    let host = Host::new();
    let counting = host
        .runtime
        .hold(&counting_artifact(DOWN), spec())
        .expect("it loads");
    let mut steps = Vec::new();
    for function in [&host.load(DOWN), &counting] {
        let mut used = Vec::new();
        for depth in ["1000", "2000"] {
            let args = [depth.as_bytes()];
            let request = CallRequest::new(b"test", &[], &args);
            let (reply, outcome) = host.request(Protocol::Resp3, function, &request).await;
            assert_eq!(reply, format!(":{depth}"));
            used.push(outcome.fuel);
        }
        steps.push((used[1] - used[0]) / 1000);
    }
    assert_eq!(steps, [13, 24]);
}

/// Generated modules, compiled with and without counting: the same replies, traps and places of
/// traps.
#[tokio::test]
async fn code_that_counts_does_the_same() {
    let host = Host::new();
    let (mut calls, mut traps) = (0, 0);
    for seed in 1..=40_u64 {
        let mut choices = Choices::new(&[], seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let wat = module(&mut choices);
        let limit = |spec: &mut ferrite_runtime::policy::function_spec::FunctionSpec| {
            spec.limits.memory_bytes_max = 6 << 20;
        };
        let plain = host.load_with(&wat, limit);
        let mut other = spec();
        limit(&mut other);
        let counting = host
            .runtime
            .hold(&counting_artifact(&wat), other)
            .expect("it loads");
        for _ in 0..8 {
            let entry = format!("f{}", choices.below(ENTRIES));
            let x = choices.below(1 << 16).to_string();
            let y = choices.below(1 << 40).to_string();
            let expected = call(&host, &plain, &entry, &[&x, &y]).await;
            let reply = call(&host, &counting, &entry, &[&x, &y]).await;
            assert_eq!(reply, expected, "{entry} {x} {y}\n{wat}");
            calls += 1;
            traps += u32::from(reply.starts_with('-'));
        }
        assert_eq!(counting.rewinding_differences(), 0, "{wat}");
    }
    assert!(traps > 0 && traps < calls, "{traps} of {calls}");
}
