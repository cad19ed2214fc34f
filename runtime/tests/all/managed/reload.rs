//! New code under the same name, while calls run.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Managed;

/// Returns `version`, read twice with work between, so that a mixture would show.
fn version(number: u64) -> String {
    format!(
        r#"(module (func (export "run") (result i64 i64) (local $i i32)
            i64.const {number}
            (loop $again
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (i32.const 100))))
            i64.const {number}))"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_fail_no_call_and_mix_nothing() {
    const RELOADS: u64 = 1000;
    let host = Managed::with(|options| options.registry = None);
    host.load("f", &version(0), "").await;
    let digests = [host.compile(&version(0)), host.compile(&version(1))];
    let done = AtomicBool::new(false);
    let calls = AtomicU64::new(0);
    let reload = async {
        for round in 0..RELOADS {
            let digest = digests[usize::from(round % 2 == 0)];
            let reply = host.say(&format!("WASM.RELOAD f {digest}")).await;
            assert_eq!(reply, format!("$71 {digest}"));
            tokio::task::yield_now().await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let call = async {
        while !done.load(Ordering::Relaxed) {
            let reply = host.say("WASM.CALL f").await;
            assert!(
                ["*2 :0 :0", "*2 :1 :1"].contains(&reply.as_str()),
                "{reply}"
            );
            calls.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(reload, call);
    assert!(calls.load(Ordering::Relaxed) > 0);
    let info = host.say("WASM.INFO f").await;
    assert!(info.contains(&format!("$5 calls :{} ", calls.load(Ordering::Relaxed))));
}

#[test]
fn threads_call_while_others_load_reload_and_unload() {
    let host = Managed::with(|options| options.registry = None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let digests = [host.compile(&version(0)), host.compile(&version(1))];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .expect("a runtime");
                while !done.load(Ordering::Relaxed) {
                    let reply = runtime.block_on(host.say("WASM.CALL f"));
                    let expected = ["*2 :0 :0", "*2 :1 :1"].contains(&reply.as_str());
                    assert!(expected || reply.starts_with("-NOFUNC "), "{reply}");
                }
            });
        }
        for round in 0..200 {
            let digest = digests[round % 2];
            let request = match round % 3 {
                0 => format!("WASM.LOAD f {digest} REPLACE"),
                1 => format!("WASM.RELOAD f {digest}"),
                _ => "WASM.UNLOAD f".to_owned(),
            };
            let reply = runtime.block_on(host.say(&request));
            assert!(!reply.starts_with('-'), "{request}: {reply}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[tokio::test]
async fn a_reload_keeps_rights_limits_and_figures() {
    let host = Managed::new();
    host.load(
        "f",
        &version(0),
        r#"LIMITS {"max_fuel":5000} DESCRIPTION versions ISOLATION reuse"#,
    )
    .await;
    assert_eq!(host.say("WASM.CALL f").await, "*2 :0 :0");
    let digest = host.compile(&version(1));
    assert_eq!(
        host.say(&format!("WASM.RELOAD f {digest}")).await,
        format!("$71 {digest}")
    );
    assert_eq!(host.say("WASM.CALL f").await, "*2 :1 :1");
    let info = host.say("WASM.INFO f").await;
    for part in [
        r#""max_fuel":5000"#,
        "$8 versions ",
        "$9 isolation $5 reuse ",
        "$5 calls :2 ",
        &digest.to_string(),
    ] {
        assert!(info.contains(part), "{part}: {info}");
    }
}

#[tokio::test]
async fn a_changed_file_reloads_and_a_broken_one_leaves_the_old() {
    let host = Managed::new();
    let path = host.modules().join("f.wasm");
    let wasm = |digest| {
        let cache = host.runtime.cache().expect("there is one");
        cache
            .source(&digest)
            .expect("the disk works")
            .expect("it was put there")
    };
    let (old, new) = (host.compile(&version(0)), host.compile(&version(1)));
    std::fs::write(&path, wasm(old)).expect("the disk works");
    assert_eq!(host.say("WASM.LOAD f f.wasm").await, format!("$71 {old}"));
    assert_eq!(host.runtime.reload_file(b"f"), Ok(None), "nothing changed");

    std::fs::write(&path, wasm(new)).expect("the disk works");
    assert_eq!(host.runtime.reload_file(b"f"), Ok(Some(new)));
    assert_eq!(host.say("WASM.CALL f").await, "*2 :1 :1");

    std::fs::write(&path, "broken").expect("the disk works");
    let error = host.runtime.reload_file(b"f").expect_err("it is broken");
    assert_eq!(host.say("WASM.CALL f").await, "*2 :1 :1");
    let errors = host.say("WASM.ERRORS f").await;
    assert!(errors.contains(error.text()), "{errors}");

    host.load("bytes", &version(0), "").await;
    assert_eq!(
        host.runtime.reload_file(b"bytes"),
        Ok(None),
        "it has no file"
    );
}
