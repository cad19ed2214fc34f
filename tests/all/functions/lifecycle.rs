//! Starts, stops, and the state that survives them.

use std::os::unix::fs::PermissionsExt as _;

use ferrite_tests::{Reply, Server, command, encode};
use rustix::process::Signal;

use crate::support::guests::{ADD1, COUNT, ENDLESS, LONG_CALLS};
use crate::support::waiting::wait_for_call;

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

#[test]
fn both_signals_stop_the_server_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start();
        let mut client = server.client();
        assert_eq!(client.run("SET k v"), ok());
        server.signal(signal);
        assert!(server.wait().success(), "{signal:?}: {}", server.log());
        assert_eq!(client.next(), None);
        assert!(server.log().contains("stopped"), "{}", server.log());
    }
}

#[test]
fn shutdown_stops_the_server() {
    let mut server = Server::start();
    let mut client = server.client();
    client.send(b"SHUTDOWN\r\n");
    assert_eq!(client.next(), None);
    assert!(server.wait().success(), "{}", server.log());
}

#[test]
fn requests_that_were_sent_are_answered_before_the_end() {
    let mut server = Server::start();
    let mut client = server.client();
    client.send(b"SET k v\r\nSHUTDOWN\r\n");
    assert_eq!(client.reply(), ok());
    assert_eq!(client.next(), None);
    assert!(server.wait().success());
}

#[test]
fn an_endless_call_does_not_keep_the_server_from_stopping() {
    let mut server = Server::builder()
        .arguments(&LONG_CALLS)
        .arguments(&["--shutdown-timeout", "50ms"])
        .start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "endless", ENDLESS]);
    assert!(reply.error().is_none(), "{reply:?}");
    client.send(b"WASM.CALL endless\r\n");
    wait_for_call(&mut server.client());
    server.signal(Signal::TERM);
    assert!(server.wait().success(), "{}", server.log());
    assert_eq!(client.next(), None);
}

#[test]
fn an_endless_call_in_the_background_does_not_either() {
    let mut server = Server::builder()
        .arguments(&LONG_CALLS)
        .arguments(&["--shutdown-timeout", "50ms"])
        .start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "endless", ENDLESS]);
    assert!(reply.error().is_none(), "{reply:?}");
    assert!(client.run("WASM.CALLASYNC endless").text().is_some());
    wait_for_call(&mut client);
    server.signal(Signal::TERM);
    assert!(server.wait().success(), "{}", server.log());
}

#[test]
fn a_compilation_does_not_keep_the_data_from_the_disk() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    // A compiler that reports its start, and then takes longer than any wait.
    let started = dir.path().join("started");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&started)
            .status()
            .expect("mkfifo is there")
            .success()
    );
    let compiler = dir.path().join("compiler");
    let script = format!("#!/bin/sh\necho > {}\nexec sleep 600\n", started.display());
    std::fs::write(&compiler, script).expect("written");
    std::fs::set_permissions(&compiler, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let mut server = Server::builder()
        .dir(dir.path())
        .arguments(&["--wasm-compiler", compiler.to_str().expect("UTF-8")])
        .arguments(&["--shutdown-timeout", "50ms"])
        .start();
    let mut loading = server.client();
    loading.send(&encode(&["WASM.DEFINE", "add1", ADD1]));
    std::fs::read(&started).expect("the compiler has started");
    let mut client = server.client();
    assert_eq!(client.run("SET k v"), ok());
    server.signal(Signal::TERM);
    assert!(server.wait().success(), "{}", server.log());
    assert_eq!(loading.next(), None);

    let server = Server::builder().dir(dir.path()).start();
    let mut client = server.client();
    assert_eq!(client.run("GET k"), Reply::Bulk(b"v".to_vec()));
    assert!(client.run("WASM.CALL add1 ARGS 1").error().is_some());
}

#[test]
fn a_call_that_ends_in_time_is_answered_while_the_server_stops() {
    let mut server = Server::builder().arguments(&LONG_CALLS).start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "endless", ENDLESS]);
    assert!(reply.error().is_none(), "{reply:?}");
    client.send(b"WASM.CALL endless TIMEOUT 300\r\n");
    wait_for_call(&mut server.client());
    server.signal(Signal::TERM);
    let reply = client.reply();
    assert!(
        reply
            .error()
            .expect("its time is over")
            .starts_with("TIMEOUT "),
        "{reply:?}"
    );
    assert_eq!(client.next(), None);
    assert!(server.wait().success(), "{}", server.log());
}

#[test]
fn functions_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::builder().dir(dir.path()).start();
    let reply = server.client().call(&[
        "WASM.DEFINE",
        "count",
        COUNT,
        "PERMISSIONS",
        r#"{"allowed_keys":["n*"],"allow_write":true}"#,
    ]);
    assert!(reply.error().is_none(), "{reply:?}");
    // Killed without a chance to shut down.
    server.signal(Signal::KILL);
    drop(server);

    let server = Server::builder().dir(dir.path()).without_compiler().start();
    let mut client = server.client();
    assert_eq!(client.run("WASM.CALL count KEYS n1"), Reply::Int(1));
    let denied = client.run("WASM.CALL count KEYS other");
    assert_eq!(
        denied,
        Reply::Int(-16),
        "the guest replies with the status DENIED"
    );
    assert_eq!(client.run("WASM.UNLOAD count"), ok());
    assert!(server.stop().success());

    let server = Server::builder().dir(dir.path()).start();
    let gone = server.client().run("WASM.CALL count KEYS n1");
    assert!(
        gone.error().expect("it is gone").starts_with("NOFUNC "),
        "{gone:?}"
    );
}

#[test]
fn data_survives_a_clean_end() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::builder().dir(dir.path()).start();
    let mut client = server.client();
    assert_eq!(client.run("SET k v"), ok());
    assert_eq!(client.run("HSET h f 1 g 2"), Reply::Int(2));
    assert!(server.stop().success());

    let server = Server::builder().dir(dir.path()).start();
    let mut client = server.client();
    assert_eq!(client.run("GET k"), Reply::Bulk(b"v".to_vec()));
    assert_eq!(client.run("HLEN h"), Reply::Int(2));
}

#[test]
fn what_was_acknowledged_survives_a_crash_if_durability_is_always() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = "[store]\ndurability = \"always\"\n";
    let server = Server::builder().dir(dir.path()).config(config).start();
    let mut client = server.client();
    let reply = client.call(&[
        "WASM.DEFINE",
        "count",
        COUNT,
        "PERMISSIONS",
        r#"{"allowed_keys":["*"],"allow_write":true}"#,
    ]);
    assert!(reply.error().is_none(), "{reply:?}");
    for number in 1..=20 {
        assert_eq!(client.run("WASM.CALL count KEYS calls"), Reply::Int(number));
        assert_eq!(client.run("INCR commands"), Reply::Int(number));
    }
    server.signal(Signal::KILL);
    drop(server);

    let server = Server::builder().dir(dir.path()).config(config).start();
    let mut client = server.client();
    assert_eq!(client.run("GET calls"), Reply::Bulk(b"20".to_vec()));
    assert_eq!(client.run("GET commands"), Reply::Bulk(b"20".to_vec()));
}

#[test]
fn a_server_without_persistence_leaves_no_data() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::builder()
        .dir(dir.path())
        .arguments(&["--store-persistent", "false"])
        .start();
    assert_eq!(server.client().run("SET k v"), ok());
    assert!(server.stop().success());
    assert!(!dir.path().join("data/store").exists());
}

#[test]
fn two_servers_cannot_share_their_data() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::builder().dir(dir.path()).start();
    let log = Server::builder()
        .dir(dir.path())
        .try_start()
        .expect_err("it is in use");
    assert!(log.contains("cannot open the data"), "{log}");
    assert!(
        log.contains("is in use by another process; stop it"),
        "{log}"
    );
    assert_eq!(server.client().run("PING"), Reply::Simple("PONG".into()));
}

#[test]
fn a_function_whose_cache_was_deleted_says_so() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::builder().dir(dir.path()).start();
    let reply = server.client().call(&["WASM.DEFINE", "add1", ADD1]);
    assert!(reply.error().is_none(), "{reply:?}");
    assert!(server.stop().success());
    std::fs::remove_dir_all(dir.path().join("cache")).expect("removed");

    let server = Server::builder().dir(dir.path()).start();
    let mut client = server.client();
    let reply = client.run("WASM.CALL add1 ARGS 1");
    assert!(
        reply
            .error()
            .expect("it is gone")
            .starts_with("NOARTIFACT "),
        "{reply:?}"
    );
    let reply = client.call(&["WASM.DEFINE", "add1", ADD1, "REPLACE"]);
    assert!(reply.error().is_none(), "{reply:?}");
    assert_eq!(client.run("WASM.CALL add1 ARGS 1"), Reply::Int(2));
}

#[test]
fn two_servers_cannot_share_an_address() {
    let server = Server::start();
    let port = server.address().port().to_string();
    let log = Server::builder()
        .arguments(&["--port", &port])
        .try_start()
        .expect_err("it is taken");
    assert!(log.contains("is another server running there?"), "{log}");
}

#[test]
fn a_function_compiled_ahead_is_loaded_by_its_digest() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = dir.path().join("add1.wat");
    std::fs::write(&source, ADD1).expect("written");
    // The server has no compiler, so it can load only code from the cache.
    let server = Server::builder().dir(dir.path()).without_compiler().start();
    let cache = dir.path().join("cache/wasm");
    let output = command("ferrite-wasmc", "FERRITE_WASMC_BIN")
        .args(["compile", "--json", "--cache"])
        .arg(&cache)
        .arg(&source)
        .output()
        .expect("the compiler can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let at = told.find("blake3:").expect("the digest is told");
    let digest = &told[at..at + "blake3:".len() + 64];

    let mut client = server.client();
    assert_eq!(
        client.call(&["WASM.LOAD", "add1", digest]).text(),
        Some(digest)
    );
    assert_eq!(client.run("WASM.CALL add1 ARGS 41"), Reply::Int(42));
}

#[test]
fn the_same_source_is_compiled_once_across_restarts() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::builder().dir(dir.path()).start();
    let mut client = server.client();
    let first = client.call(&["WASM.DEFINE", "add1", ADD1]);
    let digest = first.text().expect("a digest").to_owned();
    assert!(digest.starts_with("blake3:"), "{digest}");
    assert!(server.stop().success());

    let server = Server::builder().dir(dir.path()).without_compiler().start();
    let mut client = server.client();
    let again = client.call(&["WASM.LOAD", "again", &digest]);
    assert_eq!(again.text(), Some(digest.as_str()));
    assert_eq!(client.run("WASM.CALL again ARGS 1"), Reply::Int(2));
}
