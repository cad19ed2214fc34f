//! Another module in the same server: what its commands do is known only as far as it tells the server.

#![expect(clippy::print_stdout, reason = "tells why it is skipped")]

use std::path::Path;
use std::process::Command;

use ferrite_tests::{Client, EngineKind};

use super::{OPEN, any, load_ops};

const SOURCE: &str = include_str!("module.c");

/// The status of an access that permissions refuse.
const DENIED: i64 = -16;

/// The status of a command that the server would not run.
const INVALID: i64 = -19;

const RESTRICTED: &str = r#"{"allowed_keys":["a:*"],"allow_write":true}"#;

/// Compiles the module; `None` without a compiler.
fn build(folder: &Path) -> Option<String> {
    let (source, library) = (folder.join("module.c"), folder.join("foreign.so"));
    std::fs::write(&source, SOURCE).expect("written");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status();
    let text = library.to_str().expect("a path in UTF-8").to_owned();
    built.is_ok_and(|status| status.success()).then_some(text)
}

/// Loads the module, as it is with this argument, in the place of the one that is there.
fn load(client: &mut Client, library: &str, argument: &str) {
    client.run("MODULE UNLOAD foreign");
    let loaded = client.call(&["MODULE", "LOAD", library, argument]);
    assert_eq!(loaded.text(), Some("OK"), "{loaded:?}");
    for (key, value) in [("a:1", "allowed"), ("b:1", "hidden")] {
        assert_eq!(client.call(&["SET", key, value]).text(), Some("OK"));
    }
}

#[test]
fn commands_of_another_module_reach_no_key_that_a_function_may_not_access() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(library) = build(folder.path()) else {
        println!("skipped: there is no C compiler `cc`");
        return;
    };
    for kind in EngineKind::here() {
        let engine = kind.start();
        let mut client = engine.client();
        load_ops(&mut client, "restricted", RESTRICTED);
        load_ops(&mut client, "open", OPEN);
        load_ops(&mut client, "reader", r#"{"allow_write":false}"#);

        // It tells the server nothing of its keys.
        load(&mut client, &library, "nothing");
        for words in [
            &["foreign.get", "b:1"][..],
            &["FOREIGN.GET", "a:1"],
            &["foreign.set", "b:1", "changed"],
            &["foreign.set", "a:1", "changed"],
            &["foreign.size"],
        ] {
            let reply = any(&mut client, "restricted", words);
            assert_eq!(reply, Err(DENIED), "{kind:?} {words:?}");
        }
        let read = any(&mut client, "open", &["foreign.get", "b:1"]);
        assert_eq!(read.as_deref(), Ok("$6\r\nhidden\r\n"), "{kind:?}");
        // What it writes could not be undone.
        let written = any(&mut client, "open", &["foreign.set", "b:1", "changed"]);
        let refused = written
            .as_deref()
            .is_ok_and(|text| text.contains("could not be undone"));
        assert!(refused, "{kind:?}: {written:?}");
        assert_eq!(client.run("GET b:1").text(), Some("hidden"), "{kind:?}");

        // It tells them now: the server's answers of before are not relied on.
        load(&mut client, &library, "keys");
        let read = any(&mut client, "restricted", &["foreign.get", "a:1"]);
        assert_eq!(read.as_deref(), Ok("$7\r\nallowed\r\n"), "{kind:?}");
        for words in [
            &["foreign.get", "b:1"][..],
            &["foreign.set", "b:1", "changed"],
        ] {
            let reply = any(&mut client, "restricted", words);
            assert_eq!(reply, Err(DENIED), "{kind:?} {words:?}");
        }
        let written = any(
            &mut client,
            "restricted",
            &["foreign.set", "a:1", "changed"],
        );
        assert_eq!(written.as_deref(), Ok("+OK\r\n"), "{kind:?}");
        let refused = any(&mut client, "reader", &["foreign.set", "a:1", "again"]);
        assert!(refused.is_err_and(|status| status < DENIED), "{kind:?}");
        assert_eq!(client.run("GET a:1").text(), Some("changed"), "{kind:?}");

        // Its command that read is one that writes, and tells no keys any more.
        load(&mut client, &library, "writes");
        let refused = any(&mut client, "reader", &["foreign.get", "b:1", "changed"]);
        assert!(refused.is_err(), "{kind:?}: {refused:?}");
        let refused = any(
            &mut client,
            "restricted",
            &["foreign.get", "a:1", "changed"],
        );
        assert_eq!(refused, Err(DENIED), "{kind:?}");
        assert_eq!(client.run("GET b:1").text(), Some("hidden"), "{kind:?}");
        assert_eq!(client.run("GET a:1").text(), Some("allowed"), "{kind:?}");

        // It is gone.
        assert_eq!(client.run("MODULE UNLOAD foreign").text(), Some("OK"));
        for name in ["restricted", "open"] {
            let reply = any(&mut client, name, &["foreign.get", "a:1"]);
            let is_unknown = match &reply {
                Err(status) => *status == INVALID || *status == DENIED,
                Ok(text) => text.contains("unknown"),
            };
            assert!(is_unknown, "{kind:?} {name}: {reply:?}");
        }
    }
}
