//! Programs in JavaScript on servers that have no compiler, only the engine in their cache.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ferrite_tests::{Client, EngineKind, Reply, Server, command};

use super::{PROGRAM, define, refuses_what_is_wrong, works};
use crate::bundles::workshop::{Workshop, loaded};

/// Runs the command line in a folder; returns what it prints.
fn wasmc(folder: &Path, arguments: &[&str]) -> String {
    let output = command("ferrite-wasmc", "FERRITE_WASMC_BIN")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the command line can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("it prints text")
}

/// The files below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it can be listed") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn name(path: &Path) -> &str {
    let name = path.file_name().and_then(OsStr::to_str);
    name.expect("a file of the cache")
}

/// Names and contents of the files with an extension, below a cache.
fn files(cache: &Path, extension: &str) -> BTreeMap<String, Vec<u8>> {
    walk(cache)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| (name(&path).to_owned(), fs::read(&path).expect("ours")))
        .collect()
}

/// Checks that a program which never ends is ended, and that others are served meanwhile.
fn others_are_served_while_it_does_not_end(client: &mut Client, other: &mut Client) {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let defining = scope.spawn(|| {
            let reply = client.call(&["WASM.DEFINE", "endless", "JS", "for (;;);"]);
            ended.store(true, Ordering::SeqCst);
            reply
        });
        for _ in 0..100 {
            assert_eq!(other.run("PING"), Reply::Simple("PONG".into()));
            assert_eq!(
                other.run("WASM.CALL p.count"),
                Reply::Int(1),
                "it is rewound"
            );
        }
        assert!(
            !ended.load(Ordering::SeqCst),
            "it ended before it was watched"
        );
        let reply = defining.join().expect("it got a reply");
        assert_eq!(
            reply.error(),
            Some("INVALID endless.js: its top level runs for more than 5000000000 instructions")
        );
    });
}

#[test]
fn a_server_with_the_engine_alone_takes_programs_as_source() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::builder()
        .dir(folder.path())
        .without_compiler()
        .arguments(&["--wasm-limits-max-fuel", "1000000000"])
        .start();
    let mut client = server.client();
    let cache = folder.path().join("cache/wasm");

    let reply = client.call(&["WASM.DEFINE", "p", "JS", PROGRAM]);
    let error = reply.error().expect("there is no engine");
    let shown = cache.display().to_string();
    for part in [
        "NOARTIFACT the cache ",
        "has no JavaScript engine",
        "the configured compiler /nonexistent/ferrite-wasmc is no program",
        &format!("ferrite-wasmc engine javascript --cache {shown}"),
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }

    let told = wasmc(
        folder.path(),
        &["engine", "js", "--cache", "cache/wasm", "--json"],
    );
    assert!(told.contains("\"cached\": false"), "{told}");
    for isolation in ["rewind", "fresh", "reuse"] {
        define(&mut client, isolation);
        works(&mut client);
    }
    assert_eq!(client.run("WASM.UNLOAD p"), Reply::Simple("OK".into()));
    refuses_what_is_wrong(&mut client);
    define(&mut client, "rewind");
    others_are_served_while_it_does_not_end(&mut client, &mut server.client());

    // The compiler's own way leads to the same digest, and to the same memory.
    let compiled = folder.path().join("compiled");
    fs::write(folder.path().join("p.js"), PROGRAM).expect("written");
    let told = wasmc(
        folder.path(),
        &["compile", "p.js", "--cache", "compiled", "--json"],
    );
    let info = client.run("WASM.INFO p");
    let digest = info.at("digest").and_then(Reply::text).expect("a digest");
    assert!(told.contains(digest), "{digest}: {told}");
    let own = files(&compiled, "image");
    let (file, image) = own.first_key_value().expect("it has an image");
    assert_eq!(files(&cache, "image").get(file), Some(image));
    assert_eq!(files(&cache, "engine").len(), 1, "all share their code");

    // Its source is enough to load it by its digest again.
    assert_eq!(client.run("WASM.UNLOAD p"), Reply::Simple("OK".into()));
    let digest = digest.to_owned();
    let hex = &digest["blake3:".len()..];
    let mut removed = 0;
    for entry in walk(&cache) {
        if name(&entry).starts_with(hex) && !name(&entry).ends_with(".wasm") {
            fs::remove_file(entry).expect("ours");
            removed += 1;
        }
    }
    assert_eq!(removed, 2, "the image and the manifest");
    let loaded = client.run(&format!("WASM.LOAD p {digest}"));
    assert_eq!(loaded.text(), Some(digest.as_str()));
    assert_eq!(client.run("WASM.CALL p.count"), Reply::Int(1));
}

#[test]
fn valkey_and_redis_with_the_engine_alone_take_programs_as_source() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("cache");
    for kind in EngineKind::ends_here() {
        if !cache.exists() {
            wasmc(folder.path(), &["engine", "js", "--cache", "cache"]);
        }
        let engine = kind
            .builder()
            .without_compiler()
            .module(&["max-fuel", "1000000000"])
            .module(&["cache-dir", cache.to_str().expect("text")])
            .start();
        let mut client = engine.client();
        refuses_what_is_wrong(&mut client);
        define(&mut client, "rewind");
        works(&mut client);
        others_are_served_while_it_does_not_end(&mut client, &mut engine.client());
    }
}

#[test]
fn a_signed_bundle_of_a_program_needs_no_native_code() {
    let workshop = Workshop::new();
    let server = workshop.lean_server().start();
    workshop.wasmc(&["engine", "javascript", "--cache", "server/cache/wasm"]);
    fs::write(
        workshop.path("n.js"),
        "let n = 40; export const run = () => ++n;",
    )
    .expect("written");
    let mut arguments = vec!["bundle", "n.js", "-o", "n.tar", "--name", "n"];
    arguments.extend(["--version", "1.0.0", "--target", "none", "--sign", "ci.key"]);
    workshop.wasmc(&arguments);
    let bundle = fs::read(workshop.path("n.tar")).expect("it was made");
    assert!(bundle.len() < 16 << 10, "{} bytes", bundle.len());

    let mut client = server.client();
    let digest = loaded(&client.call(&[b"WASM.LOAD".as_slice(), b"n", &bundle]));
    for _ in 0..2 {
        assert_eq!(client.run("WASM.CALL n"), Reply::Int(41));
    }
    assert_eq!(client.run("WASM.UNLOAD n"), Reply::Simple("OK".into()));
    // Its source stays in the cache.
    let again = client.run(&format!("WASM.LOAD n {digest}"));
    assert_eq!(loaded(&again), digest);
    assert_eq!(client.run("WASM.CALL n"), Reply::Int(41));
}
