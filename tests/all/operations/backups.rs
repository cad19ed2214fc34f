//! Backups: made beside writes, restored elsewhere, refused where they cannot be.

use std::path::PathBuf;
use std::process::Command;

use ferrite_tests::{Reply, Server, command};

use super::operating::{field, ok};
use crate::support::guests::COUNT;
use crate::support::waiting::wait_until;

fn only_entry(folder: &std::path::Path) -> PathBuf {
    let mut entries = std::fs::read_dir(folder).expect("a folder");
    let entry = entries.next().expect("one").expect("read").path();
    assert!(entries.next().is_none());
    entry
}

fn restore(folder: &std::path::Path, dir: &std::path::Path) -> Command {
    let mut program = command("ferrite-server", "FERRITE_SERVER_BIN");
    program.arg("--restore").arg(folder).arg("--dir").arg(dir);
    program
}

#[test]
fn a_backup_comes_back_with_data_functions_and_sources() {
    let server = Server::start();
    let mut client = server.client();
    let write = r#"{"allow_write":true}"#;
    client.call(&["WASM.DEFINE", "count", COUNT, "PERMISSIONS", write]);
    for request in [
        "SET text value",
        "HSET hash a 1 b 2",
        "RPUSH list 1 2 3",
        "ZADD zset 1 a 2 b",
        "SET mortal v EX 100000",
        "WASM.CALL count KEYS visits",
    ] {
        assert!(client.run(request).error().is_none(), "{request}");
    }
    let started = client.run("LASTSAVE").int().expect("a time");
    assert_ne!(field(&mut client, "rdb_changes_since_last_save"), "0");
    // Writes go on while the backup is made, and are in it as a whole or not at all.
    std::thread::scope(|scope| {
        let server = &server;
        let writer = scope.spawn(move || {
            let mut client = server.client();
            for number in 0..2000 {
                client.run("MULTI");
                client.run(&format!("SET one {number}"));
                client.run(&format!("SET other {number}"));
                client.run("EXEC");
            }
        });
        assert_eq!(client.run("SAVE"), ok());
        writer.join().expect("it wrote");
    });
    assert!(client.run("LASTSAVE").int().expect("a time") >= started);
    assert_eq!(field(&mut client, "rdb_last_bgsave_status"), "ok");
    assert_eq!(field(&mut client, "rdb_saves"), "1");
    client.run("SET text changed");

    let folder = only_entry(&server.dir().join("backup"));
    let elsewhere = tempfile::tempdir().expect("a folder");
    let restored = restore(&folder, elsewhere.path())
        .output()
        .expect("it runs");
    assert!(restored.status.success(), "{restored:?}");
    let again = restore(&folder, elsewhere.path())
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        !again.status.success() && error.contains("exists already"),
        "{error}"
    );

    let other = Server::builder().dir(elsewhere.path()).start();
    let mut client = other.client();
    assert_eq!(client.run("GET text"), Reply::Bulk(b"value".to_vec()));
    assert_eq!(client.run("HGET hash b"), Reply::Bulk(b"2".to_vec()));
    assert_eq!(client.run("LLEN list"), Reply::Int(3));
    assert_eq!(client.run("ZSCORE zset b").text(), Some("2"));
    assert!(
        client
            .run("TTL mortal")
            .int()
            .is_some_and(|seconds| seconds > 90_000)
    );
    assert_eq!(
        client.run("GET one"),
        client.run("GET other"),
        "both or neither"
    );
    assert_eq!(client.run("WASM.CALL count KEYS visits"), Reply::Int(2));
}

#[test]
fn a_backup_in_the_background_is_told_in_info() {
    let server = Server::start();
    let mut client = server.client();
    client.run("SET k v");
    let reply = client.run("BGSAVE");
    assert_eq!(reply, Reply::Simple("Background saving started".into()));
    wait_until(&mut client, "rdb_saves:1\r\n");
    assert_eq!(field(&mut client, "rdb_changes_since_last_save"), "0");
    assert!(client.run("BGSAVE NOW").error().is_some());
}

#[test]
fn without_a_disk_there_is_nothing_to_back_up() {
    let server = Server::builder()
        .arguments(&["--store-persistent", "false"])
        .start();
    let mut client = server.client();
    let reply = client.run("SAVE");
    let error = reply.error().expect("an error");
    assert!(error.contains("store.persistent = false"), "{error}");
    assert_eq!(field(&mut client, "rdb_last_bgsave_status"), "err");
    assert_eq!(field(&mut client, "aof_enabled"), "0");
}

#[test]
fn what_is_no_backup_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = restore(folder.path(), &folder.path().join("new"))
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && error.contains("is no backup"),
        "{error}"
    );
    assert!(!folder.path().join("new").exists());
}
