//! A change of one function writes one function, however many there are.

use std::fmt::Write as _;

use ferrite_tests::{Reply, ServerBuilder};

use super::edits::written;
use crate::support::guests::{ADD1, COUNT};

/// A digest of no code, which is not loaded.
const DIGEST: &str = "blake3:0000000000000000000000000000000000000000000000000000000000000000";

/// The registry's file with this number of functions, as older servers wrote it.
fn older_file(functions: usize) -> String {
    let mut text = r#"{"version":1,"functions":["#.to_owned();
    for number in 0..functions {
        let comma = if number > 0 { "," } else { "" };
        write!(
            text,
            r#"{comma}{{"name":"function:{number}","digest":"{DIGEST}","permissions":{{}}}}"#
        )
        .expect("a string grows");
    }
    text + "]}"
}

#[test]
fn a_change_of_one_function_writes_one_function() {
    const FUNCTIONS: usize = 9_000;
    /// One function with its line in the log, and some more; all functions take over a megabyte.
    const BYTES_MAX: u64 = 16 << 10;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("data/functions.json");
    std::fs::create_dir_all(dir.path().join("data")).expect("a folder");
    std::fs::write(&file, older_file(FUNCTIONS)).expect("written");
    let start = || ServerBuilder::default().dir(dir.path()).start();
    let server = start();
    let mut client = server.client();
    let mut digests = Vec::new();
    for wat in [ADD1, COUNT] {
        let reply = client.call(&["WASM.DEFINE", "new", wat, "REPLACE"]);
        digests.push(reply.text().expect("a digest").to_owned());
    }
    let requests: [&[&str]; 5] = [
        &["WASM.LOAD", "new", &digests[0], "REPLACE"],
        &["WASM.RELOAD", "new", &digests[1]],
        &["WASM.CONFIG", "new", r#"{"key":"value"}"#],
        &["WASM.LOAD", "other", &digests[0]],
        &["WASM.UNLOAD", "function:77"],
    ];
    for request in requests {
        let before = written(&server);
        let reply = client.call(request);
        assert!(reply.error().is_none(), "{request:?}: {reply:?}");
        let bytes = written(&server) - before;
        assert!(
            (1..BYTES_MAX).contains(&bytes),
            "{request:?} wrote {bytes} bytes"
        );
    }
    assert!(server.stop().success());
    // All of it is there after a restart.
    let server = start();
    let mut client = server.client();
    let list = client.run("WASM.LIST");
    let listed = list.elements().expect("the functions").len();
    assert_eq!(listed, FUNCTIONS + 1);
    let info = client.run("WASM.INFO new");
    assert_eq!(
        info.at("digest").and_then(Reply::text),
        Some(digests[1].as_str())
    );
    assert!(client.run("WASM.INFO function:77").error().is_some());
}
