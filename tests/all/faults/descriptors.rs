//! File descriptors: functions hold few, and running out of them refuses connections and no more.

use ferrite_tests::{Client, Reply, Server};

use crate::support::waiting::wait_until;

/// A function that returns a number, with a memory, which differs by that number.
fn guest(number: usize) -> String {
    format!(
        "(module (memory (export \"memory\") 1) (func (export \"run\") (result i32) i32.const {number}))"
    )
}

fn load(client: &mut Client, name: &str, source: &str) {
    let loaded = client.call(&["WASM.LOAD", name, source]);
    assert!(loaded.error().is_none(), "{name}: {loaded:?}");
}

#[test]
fn functions_with_the_same_code_share_their_descriptors() {
    let server = Server::start();
    let mut client = server.client();
    let digest = client.call(&["WASM.DEFINE", "f", &guest(7)]);
    let digest = digest.text().expect("a digest").to_owned();
    assert_eq!(client.run("WASM.CALL f"), Reply::Int(7));
    let before = server.open_files();
    for index in 0..100 {
        load(&mut client, &format!("f{index}"), &digest);
        let called = client.run(&format!("WASM.CALL f{index}"));
        assert_eq!(called, Reply::Int(7));
    }
    let grown = server.open_files().saturating_sub(before);
    assert!(grown < 10, "{grown} descriptors for 100 functions");
}

#[test]
fn functions_of_their_own_hold_one_each_at_most() {
    let server = Server::start();
    let mut client = server.client();
    let before = server.open_files();
    for index in 0..20 {
        let name = format!("f{index}");
        let defined = client.call(&["WASM.DEFINE", &name, &guest(index)]);
        assert!(defined.error().is_none(), "{defined:?}");
        let called = client.run(&format!("WASM.CALL {name}"));
        assert_eq!(called, Reply::Int(index as i64));
    }
    let grown = server.open_files().saturating_sub(before);
    assert!(grown < 30, "{grown} descriptors for 20 functions");
}

#[test]
fn the_limit_is_raised_and_bounds_the_connections() {
    let server = Server::builder()
        .shell("ulimit -Sn 70 && ulimit -Hn 128")
        .start();
    let mut clients = vec![server.client()];
    wait_until(&mut clients[0], "maxclients:64");
    let log = server.log();
    assert!(log.contains("open_files_max"), "{log}");
    for _ in 1..64 {
        let mut client = server.client();
        assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
        clients.push(client);
    }
    let refused = server.client().reply();
    assert_eq!(
        refused,
        Reply::Error("ERR max number of clients reached".into())
    );
}

#[test]
fn without_descriptors_the_server_goes_on_and_says_so() {
    let server = Server::start();
    let mut client = server.client();
    let digest = client.call(&["WASM.DEFINE", "f", &guest(7)]);
    assert!(digest.error().is_none(), "{digest:?}");
    // No number is left but those in use and the one that the server keeps for this moment.
    server.limit_open_files(server.highest_open_file() + 1);
    let mut accepted = Vec::new();
    let mut refused = 0;
    while refused < 100 {
        let mut another = server.client();
        another.send(b"PING\r\n");
        match another.reply() {
            Reply::Simple(_) => accepted.push(another),
            Reply::Error(text) if text.contains("no file descriptors left") => refused += 1,
            other => panic!("{other:?}"),
        }
        assert!(accepted.len() < 500, "the limit is not reached");
    }
    for index in 0..1000 {
        let set = client.call(&["SET", &format!("key:{index}"), "value"]);
        assert_eq!(set, Reply::Simple("OK".into()));
    }
    assert_eq!(client.run("WASM.CALL f"), Reply::Int(7));
    let refused = client.call(&["WASM.DEFINE", "g", &guest(8)]);
    assert!(refused.error().is_some(), "{refused:?}");
    let info = client.run("INFO stats");
    let info = info.text().expect("text");
    assert!(info.contains("rejected_connections:100\r\n"), "{info}");

    drop(accepted);
    server.limit_open_files(1000);
    let mut another = server.client();
    assert_eq!(another.run("GET key:999"), Reply::Bulk(b"value".to_vec()));
    let defined = another.call(&["WASM.DEFINE", "g", &guest(8)]);
    assert!(defined.error().is_none(), "{defined:?}");
    let lines = server
        .log()
        .lines()
        .filter(|line| line.contains("connections cannot be accepted"))
        .count();
    assert!((1..60).contains(&lines), "{lines} lines");
    assert!(server.stop().success());
}
