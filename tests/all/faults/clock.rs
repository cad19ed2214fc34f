//! The clock of the machine jumps, forwards and backwards.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use ferrite_tests::{Reply, Server};

use crate::support::guests::ENDLESS;

/// A library that moves a program's clock.
const SOURCE: &str = include_str!("../../faults/clock.c");

#[test]
fn jumps_expire_keys_and_stop_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = dir.path().join("clock.c");
    let library = dir.path().join("clock.so");
    fs::write(&source, SOURCE).expect("written");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status();
    if !built.is_ok_and(|status| status.success()) {
        println!("skipped: there is no C compiler `cc`");
        return;
    }
    let offset = dir.path().join("offset");
    fs::write(&offset, [0; 8]).expect("written");
    let jump = |seconds: i64| {
        let file = fs::OpenOptions::new().write(true).open(&offset);
        let nanos = (seconds * 1_000_000_000).to_ne_bytes();
        file.and_then(|file| file.write_all_at(&nanos, 0))
            .expect("written");
    };
    let set = |name: &str, value: &std::path::Path| {
        let mut word = OsString::from(name);
        word.push(value);
        word
    };
    let work = dir.path().join("server");
    fs::create_dir(&work).expect("created");
    let start = || {
        Server::builder()
            .dir(&work)
            .wrapper([
                OsString::from("env"),
                set("LD_PRELOAD=", &library),
                set("CLOCK_OFFSET=", &offset),
            ])
            .start()
    };
    let server = start();
    let mut client = server.client();
    let ok = Reply::Simple("OK".into());
    assert_eq!(client.run("SET mortal 1 EX 1000"), ok);
    assert_eq!(client.run("SET stays 1"), ok);
    let defined = client.call(&[
        "WASM.DEFINE",
        "endless",
        ENDLESS,
        "LIMITS",
        r#"{"max_fuel": 9000000}"#,
    ]);
    assert!(defined.error().is_none(), "{defined:?}");

    // An hour back: the key lives longer, by the clock that there is.
    jump(-3600);
    let left = client.run("TTL mortal").int().expect("a number");
    assert!((4500..=4600).contains(&left), "{left}");
    assert_eq!(client.run("SET short 1 EX 5"), ok);
    assert_eq!(client.run("GET short"), Reply::Bulk(b"1".to_vec()));
    // Limits on time are those of the clock that only runs on.
    let ended = client.run("WASM.CALL endless TIMEOUT 50");
    assert!(ended.error().is_some(), "{ended:?}");

    // Two hours on: both are expired, and are freed without anyone asking.
    jump(3600);
    crate::support::waiting::wait_until(&mut client, "db0:keys=1,expires=0");
    assert_eq!(client.run("GET mortal"), Reply::Null);
    let ended = client.run("WASM.CALL endless TIMEOUT 50");
    assert!(ended.error().is_some(), "{ended:?}");
    assert_eq!(client.run("GET stays"), Reply::Bulk(b"1".to_vec()));

    // A start in the past of what is on disk.
    assert_eq!(client.run("SET later 1 EX 10"), ok);
    assert!(server.stop().success());
    jump(-86_400);
    let server = start();
    let mut client = server.client();
    assert_eq!(client.run("GET stays"), Reply::Bulk(b"1".to_vec()));
    let left = client.run("TTL later").int().expect("a number");
    assert!(left > 86_400, "{left}");
    assert!(server.stop().success());
}
