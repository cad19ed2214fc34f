//! Modules that take a compiler long, sent to a server that serves other requests.

use std::sync::atomic::{AtomicBool, Ordering};

use ferrite_tests::{Reply, Server};

use crate::support::guests::COUNT;

/// One function of many branches that all meet again, as large as a function may be.
fn bomb() -> String {
    const BRANCHES: usize = 50_000;
    let branch = "(if (i32.wrap_i64 (local.get 0)) (then (local.set 1 (local.get 2))) (else (local.set 2 (local.get 1))))\n";
    format!(
        "(module (func (export \"run\") (param i64) (result i64) (local i64 i64)\n{}(local.get 1)))",
        branch.repeat(BRANCHES)
    )
}

#[test]
fn a_bomb_ends_by_the_clock_and_calls_go_on_meanwhile() {
    let server = Server::builder()
        .arguments(&["--wasm-compile-timeout", "500ms"])
        .start();
    let mut client = server.client();
    let reply = client.call(&[
        "WASM.DEFINE",
        "count",
        COUNT,
        "PERMISSIONS",
        r#"{"allow_write":true}"#,
    ]);
    assert!(reply.error().is_none(), "{reply:?}");
    let done = AtomicBool::new(false);
    let (reply, calls) = std::thread::scope(|scope| {
        let bomb = scope.spawn(|| {
            let reply = server.client().call(&["WASM.DEFINE", "bomb", &bomb()]);
            done.store(true, Ordering::Release);
            reply
        });
        let mut calls = 0;
        while !done.load(Ordering::Acquire) {
            calls += 1;
            assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(calls));
        }
        (bomb.join().expect("it is answered"), calls)
    });
    let error = reply
        .error()
        .unwrap_or_else(|| panic!("it was compiled: {reply:?}"));
    assert!(
        error.starts_with("TIMEOUT compiling was ended after 500ms"),
        "{error}"
    );
    // A call takes some hundredths of a millisecond: if calls waited for the compiler, there
    // would be only one.
    assert!(calls > 50, "{calls} calls");
}
