//! Modules that take a compiler long, sent to a server that serves other requests.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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

/// Number of compilers that a server has started and that have not ended.
fn compilers(server: &Server) -> usize {
    let parent = server.pid().to_string();
    let of_server = |entry: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        // The name may have spaces; its state and its parent follow.
        let (name, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let (state, found) = (fields.next()?, fields.next()?);
        (found == parent && state != "Z" && name.contains("ferrite-wasmc")).then_some(())
    };
    let processes = std::fs::read_dir("/proc").expect("it can be listed");
    processes.filter_map(of_server).count()
}

#[test]
fn no_more_than_two_compilations_run_at_once() {
    const CLIENTS: usize = 5;
    let server = Server::builder()
        .arguments(&["--wasm-compile-timeout", "1s"])
        .start();
    let ended = AtomicUsize::new(0);
    let most = std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (server, ended) = (&server, &ended);
            scope.spawn(move || {
                let name = format!("bomb{number}");
                // Each is another module, so that no two clients wait for one compilation.
                let source = bomb().replacen(
                    "(module",
                    &format!("(module (global i32 (i32.const {number}))"),
                    1,
                );
                let reply = server.client().call(&["WASM.DEFINE", &name, &source]);
                assert!(reply.error().is_some(), "it was compiled: {reply:?}");
                ended.fetch_add(1, Ordering::Release);
            });
        }
        let mut most = 0;
        while ended.load(Ordering::Acquire) < CLIENTS {
            most = most.max(compilers(&server));
        }
        most
    });
    assert_eq!(most, 2);
}
