//! Call depth, from `LIMITS` to the code chosen for it.

use super::Managed;

/// Nests one level deeper than its argument.
fn down(result: u32) -> String {
    format!(
        r#"(module (func $down (export "run") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (call $down (i32.sub (local.get 0) (i32.const 1))))
                (else (i32.const {result})))))"#
    )
}

const LIMIT: &str = r#"LIMITS {"max_stack_depth":10}"#;

const EXCEEDED: &str = "-STACK in wasm function \"down\": calls nest 11 deep, the limit is 10; raise max_stack_depth, or recurse less";

const NO_COMPILER: &str = "-NOARTIFACT the configured compiler /nonexistent/ferrite-wasmc is no program that can be run; precompile the module where there is one: ferrite-wasmc compile FILE --cache DIR, and load it by its blake3:<digest>; with max_stack_depth, which needs code that counts its calls, add --stack-depth to ferrite-wasmc compile or bundle";

async fn is_limited(host: &Managed, result: u32) {
    assert_eq!(host.say("WASM.CALL f ARGS 10").await, EXCEEDED);
    let reply = host.say("WASM.CALL f ARGS 9").await;
    assert_eq!(reply, format!(":{result}"));
    let info = host.say("WASM.INFO f").await;
    assert!(info.contains(r#""max_stack_depth":10"#), "{info}");
    assert!(info.contains("stack depth counted"), "{info}");
}

#[tokio::test]
async fn a_limit_finds_its_code_by_digest_after_a_restart_and_a_reload() {
    let host = Managed::new();
    let digest = host.compile(&down(1));
    assert_eq!(host.compile_counting(&down(1)), digest);
    let reply = host.say(&format!("WASM.LOAD f {digest} {LIMIT}")).await;
    assert_eq!(reply, format!("$71 {digest}"));
    is_limited(&host, 1).await;

    let host = host.restart().expect("it starts");
    is_limited(&host, 1).await;

    let other = host.compile(&down(2));
    let reply = host.say(&format!("WASM.RELOAD f {other}")).await;
    assert_eq!(reply, NO_COMPILER, "the new code does not count");
    is_limited(&host, 1).await;
    host.compile_counting(&down(2));
    let reply = host.say(&format!("WASM.RELOAD f {other}")).await;
    assert_eq!(reply, format!("$71 {other}"));
    is_limited(&host, 2).await;
}

#[tokio::test]
async fn only_those_who_ask_pay() {
    let host = Managed::new();
    let digest = host.compile(&down(1));
    host.compile_counting(&down(1));
    let reply = host.say(&format!("WASM.LOAD free {digest}")).await;
    assert_eq!(reply, format!("$71 {digest}"));
    let info = host.say("WASM.INFO free").await;
    assert!(!info.contains("stack depth counted"), "{info}");
    assert_eq!(host.say("WASM.CALL free ARGS 1000").await, ":1");

    // Without other code or a compiler, code that counts serves a function without a limit.
    let digest = host.compile_counting(&down(3));
    let reply = host.say(&format!("WASM.LOAD free {digest} REPLACE")).await;
    assert_eq!(reply, format!("$71 {digest}"));
    assert_eq!(host.say("WASM.CALL free ARGS 1000").await, ":3");
}

#[tokio::test]
async fn the_servers_limit_is_that_of_functions_without_one() {
    let host = Managed::with(|options| {
        options.limits.stack_depth_max = Some(10);
        options.limits_max.stack_depth_max = Some(20);
    });
    let digest = host.compile_counting(&down(1));
    let load = |options: &str| format!("WASM.LOAD f {digest} REPLACE{options}");
    assert_eq!(host.say(&load("")).await, format!("$71 {digest}"));
    is_limited(&host, 1).await;
    let reply = host.say(&load(r#" LIMITS {"max_stack_depth":21}"#)).await;
    assert_eq!(
        reply,
        "-INVALID limits: max_stack_depth 21 is more than any function may have here, which is 20; ask for less, or let the operator raise it in [wasm.limits.max]"
    );
    is_limited(&host, 1).await;
    let reply = host.say(&load(r#" LIMITS {"max_stack_depth":20}"#)).await;
    assert_eq!(reply, format!("$71 {digest}"));
    assert_eq!(host.say("WASM.CALL f ARGS 19").await, ":1");
    let reply = host.say("WASM.CALL f ARGS 20").await;
    assert!(reply.contains("21 deep, the limit is 20"), "{reply}");
    let plain = host.compile(&down(2));
    let reply = host.say(&format!("WASM.LOAD f {plain} REPLACE")).await;
    assert_eq!(reply, NO_COMPILER);
}
