//! Damaged files: each file of a server's folder cut at many lengths, and with bytes changed.
//!
//! The server then reports the damage and does not start, or starts with all of its data and
//! functions; it never serves anything else. `FERRITE_DAMAGE_ROUNDS` sets the number of rounds.

use std::fs;
use std::path::{Path, PathBuf};

use ferrite_tests::{Reply, Server};

/// Damaged copies in a plain run.
const ROUNDS: usize = 40;

/// A function that returns 7.
const SEVEN: &str =
    r#"(module (memory (export "memory") 1) (func (export "run") (result i32) i32.const 7))"#;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Copies a folder with the modes of its files and folders, which the cache checks.
fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .expect("cp is there");
    assert!(done.success());
}

/// Everything that a client can see.
fn view(server: &Server) -> Vec<Reply> {
    let mut client = server.client();
    [
        "DBSIZE",
        "GET key:7",
        "GET key:199",
        "GET large",
        "LRANGE list 0 -1",
        "HGETALL hash",
        "ZRANGE zset 0 -1 WITHSCORES",
        "GET gone",
    ]
    .map(|line| client.run(line))
    .to_vec()
}

#[test]
fn it_is_reported_or_harmless() {
    let good = tempfile::tempdir().expect("a temporary folder");
    let source = good.path().join("server");
    fs::create_dir(&source).expect("created");
    let log = good.path().join("log");
    let build = |dir: &Path| {
        Server::builder()
            .dir(dir)
            .log(&log)
            .arguments(&["--store-durability", "always"])
    };
    // Two lives, so that there are tables and journals.
    let mut expected = Vec::new();
    for life in 0..2 {
        let server = build(&source).start();
        let mut client = server.client();
        for index in 0..100 {
            let key = format!("key:{}", life * 100 + index);
            client.call(&["SET", &key, &index.to_string()]);
            client.call(&["RPUSH", "list", &index.to_string()]);
            client.call(&["HSET", "hash", &format!("field:{index}"), "value"]);
            client.call(&["ZADD", "zset", &index.to_string(), &key]);
        }
        client.call(&["SET", "large", &"x".repeat(200_000)]);
        client.run("SET gone 1");
        client.run("DEL gone");
        let defined = client.call(&["WASM.DEFINE", "seven", SEVEN, "REPLACE"]);
        assert!(defined.error().is_none(), "{defined:?}");
        assert_eq!(client.run("WASM.CALL seven"), Reply::Int(7));
        expected = view(&server);
        assert!(server.stop().success());
    }
    let victims = files(&source);
    let rounds = std::env::var("FERRITE_DAMAGE_ROUNDS").map_or(ROUNDS, |text| {
        text.parse().expect("FERRITE_DAMAGE_ROUNDS is a number")
    });
    let mut random = fastrand::Rng::with_seed(7);
    let (mut reported, mut harmless) = (0, 0);
    for round in 0..rounds {
        let place = tempfile::tempdir().expect("a temporary folder");
        let dir = place.path().join("server");
        copy(&source, &dir);
        let victim = &victims[round % victims.len()];
        let file = dir.join(victim.strip_prefix(&source).expect("a file inside"));
        let mut bytes = fs::read(&file).expect("a file to damage");
        // Journals are allocated ahead of time; this damages the used part.
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        let what = match random.u8(..5) {
            _ if used == 0 => continue,
            0 => {
                let at = random.usize(..used);
                bytes[at] ^= 1 << random.u8(..8);
                format!("bit at {at}")
            }
            1 => {
                let at = random.usize(..used);
                let end = (at + random.usize(1..64)).min(used);
                bytes[at..end]
                    .iter_mut()
                    .for_each(|byte| *byte = random.u8(..));
                format!("noise from {at} to {end}")
            }
            2 => {
                let at = random.usize(..used);
                let end = (at + 512).min(used);
                bytes[at..end].fill(0);
                format!("zeros from {at} to {end}")
            }
            3 => {
                bytes.clear();
                "empty".to_owned()
            }
            _ => {
                bytes.truncate(random.usize(..used));
                format!("cut to {}", bytes.len())
            }
        };
        // The cache's files are read-only; a new file takes the place.
        let mode = fs::metadata(&file).expect("it is there").permissions();
        fs::remove_file(&file).expect("removed");
        fs::write(&file, &bytes).expect("written");
        fs::set_permissions(&file, mode).expect("ours");
        let context = format!("{}: {what}", victim.display());
        fs::write(&log, "").expect("emptied");
        match build(&dir).try_start() {
            Ok(server) => {
                assert_eq!(view(&server), expected, "{context}");
                let called = server.client().run("WASM.CALL seven");
                // A function whose source is damaged cannot be called, and says so.
                let lost = called
                    .error()
                    .is_some_and(|text| text.starts_with("NOARTIFACT "));
                assert!(called == Reply::Int(7) || lost, "{context}: {called:?}");
                let status = server.stop();
                assert!(status.success(), "{context}");
                harmless += 1;
            }
            Err(log) => {
                assert!(log.contains("ferrite-server: "), "{context}: {log}");
                reported += 1;
            }
        }
    }
    println!("{reported} reported, {harmless} harmless");
    assert!(
        reported > 0 && harmless > 0,
        "{reported} reported, {harmless} harmless"
    );
}
