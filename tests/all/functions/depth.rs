//! `max_stack_depth` over RESP: set at loading, kept by reloads, restarts and a lost cache.

use std::path::Path;

use ferrite_tests::{Client, Reply, Server, command};

/// Nests one level deeper than its argument, and returns this number.
fn down(result: u32) -> String {
    format!(
        r#"(module (func $down (export "run") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (call $down (i32.sub (local.get 0) (i32.const 1))))
                (else (i32.const {result})))))"#
    )
}

const LIMIT: &str = r#"{"max_stack_depth":100}"#;

const EXCEEDED: &str = "STACK in wasm function \"down\": calls nest 101 deep, the limit is 100; raise max_stack_depth, or recurse less";

fn is_limited(client: &mut Client, result: i64) {
    let reply = client.run("WASM.CALL f ARGS 100");
    assert_eq!(reply.error(), Some(EXCEEDED), "{reply:?}");
    assert_eq!(client.run("WASM.CALL f ARGS 99"), Reply::Int(result));
    let info = client.run("WASM.INFO f");
    let limits = info.at("limits").and_then(Reply::text).unwrap_or_default();
    assert!(limits.contains(r#""max_stack_depth":100"#), "{info:?}");
    let profile = info.at("profile").and_then(Reply::text);
    assert!(
        profile.is_some_and(|profile| profile.contains("stack depth counted")),
        "{info:?}"
    );
}

/// Removes all native code, and keeps the sources.
fn forget_code(dir: &Path) {
    let cache = dir.join("cache/wasm/v1");
    for folder in std::fs::read_dir(&cache).expect("there is a cache") {
        let folder = folder.expect("it is read").path();
        let name = folder.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.len() == 16) {
            std::fs::remove_dir_all(&folder).expect("it is removed");
        }
    }
}

#[test]
fn a_limit_outlives_reloads_restarts_and_the_cache() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::builder().dir(dir.path()).start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "f", &down(1), "LIMITS", LIMIT]);
    let digest = reply.text().expect("a digest").to_owned();
    is_limited(&mut client, 1);

    // The same source without the limit is different code.
    let reply = client.call(&["WASM.LOAD", "free", &digest]);
    assert_eq!(reply.text(), Some(digest.as_str()));
    assert_eq!(client.run("WASM.CALL free ARGS 1000"), Reply::Int(1));
    // With the limit, the digest alone finds the right code.
    let reply = client.call(&["WASM.LOAD", "f", &digest, "LIMITS", LIMIT, "REPLACE"]);
    assert_eq!(reply.text(), Some(digest.as_str()));
    is_limited(&mut client, 1);

    std::fs::create_dir_all(dir.path().join("wasm")).expect("made");
    std::fs::write(dir.path().join("wasm/two.wat"), down(2)).expect("written");
    let reply = client.run("WASM.RELOAD f two.wat");
    assert!(reply.error().is_none(), "{reply:?}");
    is_limited(&mut client, 2);

    drop(client);
    drop(server);
    forget_code(dir.path());
    let server = Server::builder().dir(dir.path()).start();
    is_limited(&mut server.client(), 2);
}

#[test]
fn a_server_without_a_compiler_says_what_code_it_needs() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = dir.path().join("down.wat");
    std::fs::write(&source, down(1)).expect("written");
    let server = Server::builder().dir(dir.path()).without_compiler().start();
    let compile = |options: &[&str]| {
        let output = command("ferrite-wasmc", "FERRITE_WASMC_BIN")
            .args(["compile", "--json", "--cache"])
            .arg(dir.path().join("cache/wasm"))
            .args(options)
            .arg(&source)
            .output()
            .expect("the compiler can be run");
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stdout).expect("JSON is UTF-8");
        let at = told.find("blake3:").expect("the digest is told");
        told[at..at + "blake3:".len() + 64].to_owned()
    };
    let digest = compile(&[]);
    let mut client = server.client();
    let load = ["WASM.LOAD", "f", &digest, "LIMITS", LIMIT];
    let reply = client.call(&load);
    let error = reply.error().expect("the code does not count");
    assert!(error.starts_with("NOARTIFACT "), "{error}");
    assert!(error.contains("--stack-depth"), "{error}");
    assert_eq!(compile(&["--stack-depth"]), digest);
    assert_eq!(client.call(&load).text(), Some(digest.as_str()));
    is_limited(&mut client, 1);
}

#[test]
fn the_servers_own_limit_is_that_of_functions_without_one() {
    let server = Server::builder()
        .config("[wasm.limits]\nmax_stack_depth = 100\n[wasm.limits.max]\nmax_stack_depth = 200")
        .start();
    let mut client = server.client();
    let mut define =
        |limits: &str| client.call(&["WASM.DEFINE", "f", &down(3), "LIMITS", limits, "REPLACE"]);
    let reply = define(r#"{"max_stack_depth":201}"#);
    let error = reply.error().expect("it is more than the most");
    assert!(error.contains("max_stack_depth 201"), "{error}");
    assert!(error.contains("which is 200"), "{error}");
    assert!(define(r#"{"max_stack_depth":200}"#).error().is_none());
    assert!(define("{}").error().is_none());
    is_limited(&mut client, 3);
}
