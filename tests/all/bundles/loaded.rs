//! Loaded bundles, with the rights that they were signed for.

use std::fs;

use base64::Engine as _;
use ferrite_tests::{Reply, Server};

use super::workshop::{Workshop, artifacts, loaded, refused};
use crate::support::guests::ADD1;

const DENIED: Reply = Reply::Int(-16);
const READ_ONLY: Reply = Reply::Int(-17);

#[test]
fn a_bundle_is_loaded_by_path_by_value_and_from_base64_and_nothing_is_compiled() {
    let workshop = Workshop::new();
    let bundle = workshop.signed(&["--sequence", "7", "--description", "counts"]);
    fs::write(workshop.modules().join("count.cwasm.tar"), &bundle).expect("written");
    let base64 = base64::engine::general_purpose::STANDARD.encode(&bundle);
    let server = workshop.lean_server().start();
    let mut client = server.client();
    let by_path = loaded(&client.run("WASM.LOAD count count.cwasm.tar"));
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
    let by_value = client.call(&[b"WASM.LOAD", b"count".as_slice(), &bundle, b"REPLACE"]);
    assert_eq!(loaded(&by_value), by_path);
    let by_base64 = client.call(&["WASM.LOAD", "count", &base64, "REPLACE"]);
    assert_eq!(loaded(&by_base64), by_path);
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(2));
    // The best code that this machine can run, and no other.
    assert_eq!(artifacts(&workshop.cache()), 1);

    let info = client.run("WASM.INFO count");
    assert_eq!(info.at("description").and_then(Reply::text), Some("counts"));
    let release = info.at("bundle").expect("it came in one");
    assert_eq!(release.at("version").and_then(Reply::text), Some("1.2.3"));
    assert_eq!(release.at("sequence").and_then(Reply::int), Some(7));
    let key = release.at("signed_by").and_then(Reply::text);
    assert_eq!(key, Some(workshop.key_id("ci").as_str()));

    // A restart finds code and facts again.
    assert!(server.stop().success());
    let server = workshop.lean_server().start();
    let mut client = server.client();
    assert_eq!(client.run("WASM.CALL count KEYS m"), Reply::Int(1));
    assert!(client.run("WASM.INFO count").at("bundle").is_some());
}

#[test]
fn a_reload_keeps_the_rights_and_takes_the_release() {
    let workshop = Workshop::new();
    let server = workshop.lean_server().start();
    let mut client = server.client();
    loaded(&client.call(&[
        b"WASM.LOAD",
        b"count".as_slice(),
        &workshop.signed(&["--sequence", "1"]),
    ]));
    let second = workshop.signed(&["--sequence", "2", "--limits", r#"{"max_time":"1s"}"#]);
    fs::write(workshop.modules().join("c.cwasm.tar"), second).expect("written");
    loaded(&client.run("WASM.RELOAD count c.cwasm.tar"));
    let info = client.run("WASM.INFO count");
    let sequence = info
        .at("bundle")
        .and_then(|release| release.at("sequence")?.int());
    assert_eq!(sequence, Some(2));
    let limits = info
        .at("limits")
        .and_then(Reply::text)
        .expect("they are told");
    assert!(limits.contains(r#""max_time":"1s""#), "{limits}");

    // The function may write, but the third release was signed for reading only.
    let third = workshop.signed(&["--sequence", "3", "--permissions", "read-only"]);
    let reply = client.call(&[b"WASM.RELOAD", b"count".as_slice(), &third]);
    let error = refused(&reply, "NOPERM ");
    assert!(error.contains("allow_write is true"), "{error}");
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
    loaded(&client.call(&[b"WASM.LOAD", b"count".as_slice(), &third, b"REPLACE"]));
    assert_eq!(client.run("WASM.CALL count KEYS n"), READ_ONLY);
}

#[test]
fn what_was_signed_for_holds_unless_the_load_asks_for_less() {
    let workshop = Workshop::new();
    let bundle = workshop.signed(&[
        "--permissions",
        r#"{"allowed_keys":["n*"],"denied_keys":["n:secret"],"allow_write":true}"#,
        "--limits",
        r#"{"max_time":"50ms","max_memory":"1MB"}"#,
        "--isolation",
        "fresh",
    ]);
    let server = workshop.lean_server().start();
    let mut client = server.client();
    let mut load = |options: &[&str]| {
        let mut words: Vec<&[u8]> = vec![b"WASM.LOAD", b"count", &bundle, b"REPLACE"];
        words.extend(options.iter().map(|word| word.as_bytes()));
        client.call(&words)
    };
    loaded(&load(&[]));
    let mut other = server.client();
    assert_eq!(other.run("WASM.CALL count KEYS n1"), Reply::Int(1));
    assert_eq!(other.run("WASM.CALL count KEYS other"), DENIED);
    assert_eq!(other.run("WASM.CALL count KEYS n:secret"), DENIED);
    let info = other.run("WASM.INFO count");
    let limits = info
        .at("limits")
        .and_then(Reply::text)
        .expect("they are told");
    assert!(limits.contains(r#""max_time":"50ms""#), "{limits}");
    assert_eq!(info.at("isolation").and_then(Reply::text), Some("fresh"));

    loaded(&load(&[
        "PERMISSIONS",
        r#"{"allowed_keys":["n:a*"],"denied_keys":["n:secret","n:ab"],"allow_write":true}"#,
        "LIMITS",
        r#"{"max_time":"10ms"}"#,
    ]));
    assert_eq!(other.run("WASM.CALL count KEYS n:a"), Reply::Int(1));
    assert_eq!(other.run("WASM.CALL count KEYS n1"), DENIED);
    let info = other.run("WASM.INFO count");
    let limits = info
        .at("limits")
        .and_then(Reply::text)
        .expect("they are told");
    assert!(limits.contains(r#""max_time":"10ms""#), "{limits}");
    assert!(limits.contains(r#""max_memory":"1MB""#), "{limits}");

    for (option, value, rule) in [
        (
            "PERMISSIONS",
            r#"{"allowed_keys":["*"],"denied_keys":["n:secret"],"allow_write":true}"#,
            r#"allowed_keys has "*""#,
        ),
        (
            "PERMISSIONS",
            r#"{"allowed_keys":["n*"]}"#,
            r#"denied_keys lacks "n:secret""#,
        ),
        (
            "LIMITS",
            r#"{"max_time":"60ms"}"#,
            "max_time is 60ms, and 50ms was granted",
        ),
        // The bundle names no such limit: the server's default applies, and is the most.
        (
            "LIMITS",
            r#"{"max_fuel":10000001}"#,
            "max_fuel is 10000001, and none was granted, which is the default of 10000000",
        ),
        (
            "ISOLATION",
            "reuse",
            "isolation reuse keeps memory between calls",
        ),
    ] {
        let error = refused(&load(&[option, value]), "NOPERM ");
        assert!(error.contains(rule), "{error}");
    }
    // The refused load changed nothing.
    assert_eq!(other.run("WASM.CALL count KEYS n:a"), Reply::Int(2));
}

#[test]
fn a_bundle_that_asks_for_nothing_gets_the_servers_defaults_and_no_more() {
    let workshop = Workshop::new();
    workshop.wasmc(&[
        "bundle",
        "count.wat",
        "--name",
        "count",
        "--version",
        "1",
        "--sign",
        "ci.key",
        "-o",
        "server/wasm/c.cwasm.tar",
    ]);
    let server = workshop.lean_server().start();
    let mut client = server.client();
    let reply = client.call(&[
        "WASM.LOAD",
        "count",
        "c.cwasm.tar",
        "PERMISSIONS",
        r#"{"allow_write":true}"#,
    ]);
    let error = refused(&reply, "NOPERM ");
    assert!(
        error.contains("allow_write is true, and was not granted"),
        "{error}"
    );
    loaded(&client.run("WASM.LOAD count c.cwasm.tar"));
    assert_eq!(client.run("WASM.CALL count KEYS n"), READ_ONLY);
}

#[test]
fn code_for_another_machine_is_compiled_from_the_source_or_the_profiles_are_told() {
    let workshop = Workshop::new();
    let target = if cfg!(target_arch = "x86_64") {
        "aarch64"
    } else {
        "x86-64-v2"
    };
    for target in [target, "none"] {
        let bundle = workshop.signed(&["--target", target]);
        fs::write(workshop.modules().join("c.cwasm.tar"), &bundle).expect("written");
        let server = workshop.lean_server().start();
        let error = refused(
            &server.client().run("WASM.LOAD count c.cwasm.tar"),
            "NOARTIFACT ",
        );
        let has = match target {
            "none" => "no native code at all",
            "aarch64" => "native code for aarch64-unknown-linux-gnu, generic",
            _ => "native code for x86_64-unknown-linux-gnu",
        };
        assert!(error.contains(has), "{error}");
        assert!(error.contains("this machine needs "), "{error}");
        assert!(error.contains("no program that can be run"), "{error}");
        assert!(server.stop().success());

        let server = workshop.server().start();
        let mut client = server.client();
        loaded(&client.run("WASM.LOAD count c.cwasm.tar REPLACE"));
        assert_eq!(
            client.run(&format!("WASM.CALL count KEYS {target}")),
            Reply::Int(1)
        );
        let info = client.run("WASM.INFO count");
        assert!(info.at("bundle").is_some());
        assert_eq!(client.run("WASM.UNLOAD count"), Reply::Simple("OK".into()));
        assert!(server.stop().success());
        fs::remove_dir_all(workshop.cache()).expect("removed");
    }
}

#[test]
fn an_imported_bundle_is_loaded_by_its_digest_and_never_compiled() {
    let workshop = Workshop::new();
    fs::write(workshop.path("b.tar"), workshop.signed(&[])).expect("written");
    let cache = workshop.cache();
    let cache = cache.to_str().expect("text");
    let told = workshop.wasmc(&[
        "--json", "cache", "import", "b.tar", "--key", "ci.pub", "--cache", cache,
    ]);
    assert!(told.contains(r#""runs_here": true"#), "{told}");
    let at = told.find("blake3:").expect("the source is told");
    let digest = &told[at..at + "blake3:".len() + 64];
    let load = |name| {
        let permissions = r#"{"allow_write":true}"#;
        [
            "WASM.LOAD",
            name,
            digest,
            "PERMISSIONS",
            permissions,
            "REPLACE",
        ]
    };
    let server = workshop.lean_server().start();
    let mut client = server.client();
    assert_eq!(loaded(&client.call(&load("count"))), digest);
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
    assert_eq!(client.run("WASM.UNLOAD count"), Reply::Simple("OK".into()));
    assert!(server.stop().success());

    // Its digest gives signed code no other name and no other rights.
    let signed_only = ["--wasm-security-require-signed", "true"];
    let server = workshop.lean_server().arguments(&signed_only).start();
    let mut client = server.client();
    // The bundle was loaded here before, so its release is stored.
    assert_eq!(loaded(&client.call(&load("count"))), digest);
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(2));
    let error = refused(&client.call(&load("zz")), "BADSIG ");
    assert!(error.contains("is signed as function \"count\""), "{error}");
    loaded(&client.call(&["WASM.RELOAD", "count", digest]));
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(3));
}

#[test]
fn only_what_is_signed_is_loaded_where_that_is_required() {
    let workshop = Workshop::new();
    let server = workshop.server().start();
    let mut client = server.client();
    let digest = loaded(&client.call(&["WASM.DEFINE", "add1", ADD1]));
    assert!(server.stop().success());

    let signed_only = ["--wasm-security-require-signed", "true"];
    let server: Server = workshop.server().arguments(&signed_only).start();
    let mut client = server.client();
    for reply in [
        client.call(&["WASM.DEFINE", "other", ADD1]),
        client.call(&[b"WASM.LOAD".as_slice(), b"other", b"\0asm\x01\0\0\0"]),
        // Loaded before the rule applied.
        client.run("WASM.CALL add1 ARGS 1"),
    ] {
        let error = refused(&reply, "BADSIG ");
        assert!(
            error.contains("is not signed, and wasm.security.require_signed is true"),
            "{error}"
        );
    }
    for reply in [
        client.call(&["WASM.LOAD", "other", &digest]),
        client.call(&["WASM.RELOAD", "add1", &digest]),
    ] {
        let error = refused(&reply, "BADSIG ");
        assert!(error.contains("is stored here"), "{error}");
    }
    loaded(&client.call(&[b"WASM.LOAD".as_slice(), b"count", &workshop.signed(&[])]));
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
}

#[test]
fn a_bundle_with_code_that_counts_takes_a_limit_on_depth() {
    const LIMITS: &str = r#"{"max_stack_depth":10}"#;
    let workshop = Workshop::new();
    let server = workshop.lean_server().start();
    let mut client = server.client();
    let mut load = |bundle: &[u8]| {
        let words: [&[u8]; 6] = [
            b"WASM.LOAD",
            b"count",
            bundle,
            b"LIMITS",
            LIMITS.as_bytes(),
            b"REPLACE",
        ];
        client.call(&words)
    };
    let reply = load(&workshop.signed(&["--sequence", "1"]));
    let error = refused(&reply, "NOARTIFACT the bundle has native code for ");
    assert!(error.contains("--stack-depth"), "{error}");
    loaded(&load(&workshop.signed(&[
        "--sequence",
        "2",
        "--stack-depth",
    ])));
    loaded(&load(&workshop.signed(&[
        "--sequence",
        "3",
        "--limits",
        LIMITS,
    ])));
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
    let info = client.run("WASM.INFO count");
    let profile = info
        .at("profile")
        .and_then(Reply::text)
        .expect("it is told");
    assert!(profile.contains("stack depth counted"), "{profile}");

    // Without the limit, the same code serves: the bundle contains no other.
    let bundle = workshop.signed(&["--sequence", "4", "--stack-depth"]);
    loaded(&client.call(&[b"WASM.LOAD", b"count".as_slice(), &bundle, b"REPLACE"]));
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(2));
}
