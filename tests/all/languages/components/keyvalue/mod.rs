//! Components that know `wasi:keyvalue` alone: a bucket is a key prefix of the store.

use ferrite_tests::{Reply, Server};

use super::{component, python};

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

/// Sorts the keys that a listing gave, which have no order.
fn sorted(reply: Reply) -> Reply {
    let Reply::Array(mut keys) = reply else {
        panic!("no list: {reply:?}");
    };
    keys.sort_by_key(|key| format!("{key:?}"));
    Reply::Array(keys)
}

#[test]
fn both_drafts_of_keyvalue_reach_the_store() {
    let Some(python) = python() else { return };
    let scratch = tempfile::tempdir().expect("there is room for a folder");
    let component = component(&python, "keyvalue/keyvalue", scratch.path());
    let server = Server::start();
    let mut client = server.client();
    client.hello3();
    let loaded = client.call(&[
        &b"WASM.LOAD"[..],
        b"kv",
        &component,
        b"PERMISSIONS",
        br#"{"allow_write": true, "allowed_keys": ["users:*"]}"#,
    ]);
    assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
    // A key whose name is no text is not listed.
    client.call(&[&b"SET"[..], b"users:\xff", b"1"]);

    let Reply::Array(mut replies) = client.run("WASM.CALL kv.second") else {
        panic!("an array");
    };
    let keys = replies.remove(17);
    assert_eq!(
        sorted(keys),
        Reply::Array(vec![bulk("a"), bulk("n"), bulk("p")])
    );
    let expected = vec![
        bulk("done"),
        bulk("1"),
        Reply::Null,
        Reply::Bool(true),
        Reply::Int(5),
        Reply::Int(-2),
        bulk("done"),
        Reply::Simple("invalid".into()),
        bulk("1"),
        bulk("done"),
        // The swap has failed because of the write between, the next one has not.
        Reply::Int(11),
        Reply::Int(0),
        bulk("4"),
        bulk("done"),
        Reply::Array(vec![bulk("q"), bulk("2"), bulk("nothing"), Reply::Null]),
        bulk("done"),
        bulk("done"),
        Reply::Int(0),
        bulk("4"),
        Reply::Error("ERR access denied".into()),
    ];
    assert_eq!(replies, expected);
    assert_eq!(client.run("GET users:a"), bulk("4"));
    assert!(server.log().contains("probe: was critical"));

    assert_eq!(client.run("DEL users:n users:p"), Reply::Int(2));
    let first = client.run("WASM.CALL kv.first");
    let expected = vec![
        bulk("done"),
        bulk("1"),
        Reply::Bool(false),
        Reply::Int(3),
        bulk("done"),
        Reply::Array(vec![Reply::Bool(true), bulk("1"), Reply::Bool(false)]),
        bulk("done"),
        bulk("done"),
        Reply::Array(vec![bulk("a")]),
        Reply::Int(0),
    ];
    assert_eq!(first, Reply::Array(expected));
}
