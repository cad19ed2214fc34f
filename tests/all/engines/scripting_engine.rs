//! `FUNCTION` and `FCALL`, in engines that support scripting engines.

use ferrite_tests::{Client, EngineKind, Reply, encode};

use super::{LONG, OPS, TRAPS, until};
use crate::support::guests::{ADD1, COUNT};

fn load(client: &mut Client, library: &str, header: &str, source: &str) {
    let code = format!("#!wasm name={library}\n{header}\n{source}");
    let reply = client.call(&["FUNCTION", "LOAD", "REPLACE", &code]);
    assert_eq!(reply.text(), Some(library), "{reply:?}");
}

const WRITES: &str =
    r#"{"name":"count","description":"counts","permissions":{"allow_write":true}}"#;

#[test]
fn libraries_are_loaded_called_listed_dumped_and_restored() {
    for kind in EngineKind::with_scripting_engines() {
        let engine = kind.builder().arguments(&["--appendonly", "yes"]).start();
        let mut client = engine.client();
        load(&mut client, "counting", WRITES, COUNT);
        load(&mut client, "adding", r#"{"name":"add1"}"#, ADD1);
        assert_eq!(client.run("FCALL count 1 n"), Reply::Int(1));
        assert_eq!(client.run("FCALL count 1 n"), Reply::Int(2));
        assert_eq!(client.run("FCALL add1 0 41"), Reply::Int(42));
        assert_eq!(client.run("FCALL_RO add1 0 41"), Reply::Int(42));
        let refused = client.run("FCALL_RO count 1 n");
        assert!(refused.error().is_some_and(|error| error.contains("write")));
        assert_eq!(client.run("GET n"), Reply::Bulk(b"2".to_vec()));
        let list = client.run("FUNCTION LIST LIBRARYNAME counting WITHCODE");
        let library = &list.elements().expect("an array")[0];
        assert_eq!(library.at("engine").and_then(Reply::text), Some("WASM"));
        let function = &library
            .at("functions")
            .and_then(Reply::elements)
            .expect("some")[0];
        assert_eq!(
            function.at("description").and_then(Reply::text),
            Some("counts")
        );
        let code = library.at("library_code").and_then(Reply::text);
        assert!(code.is_some_and(|code| code.contains("incr_by")));

        let Reply::Bulk(dump) = client.run("FUNCTION DUMP") else {
            panic!("no dump");
        };
        client.run("FUNCTION FLUSH");
        assert!(client.run("FCALL add1 0 1").error().is_some());
        let restore = [b"FUNCTION".as_slice(), b"RESTORE", &dump];
        assert_eq!(client.call(&restore), Reply::Simple("OK".into()));
        assert_eq!(client.run("FCALL count 1 n"), Reply::Int(3));
        assert_eq!(client.run("DEBUG RELOAD"), Reply::Simple("OK".into()));
        assert_eq!(client.run("DEBUG LOADAOF"), Reply::Simple("OK".into()));
        assert_eq!(client.run("FCALL count 1 n"), Reply::Int(4));
        assert_eq!(
            client.run("FUNCTION DELETE counting"),
            Reply::Simple("OK".into())
        );
        assert!(client.run("FCALL count 1 n").error().is_some());
    }
}

#[test]
fn what_is_wrong_with_a_library_is_said() {
    for kind in EngineKind::with_scripting_engines() {
        let engine = kind.start();
        let mut client = engine.client();
        for (code, expected) in [
            ("#!wasm name=l\n(module", "INVALID"),
            ("#!wasm name=l\n(module)", "INVALID"),
            ("#!wasm name=l\n{\"nam\":1}\n(module)", "line of JSON"),
            ("#!wasm name=l\nblake3:00", "digest"),
            ("#!wasm name=l\n", "empty"),
        ] {
            let reply = client.call(&["FUNCTION", "LOAD", code]);
            assert!(
                reply.error().is_some_and(|error| error.contains(expected)),
                "{code}: {reply:?}"
            );
        }
        let reply = client.call(&["EVAL", "#!wasm\n(module)", "0"]);
        assert!(
            reply
                .error()
                .is_some_and(|error| error.contains("FUNCTION LOAD")),
            "{reply:?}"
        );
    }
}

#[test]
fn functions_of_libraries_trap_are_killed_and_leave_nothing() {
    for kind in EngineKind::with_scripting_engines() {
        let engine = kind.builder().module(&LONG).start();
        let mut client = engine.client();
        load(&mut client, "traps", r#"{"name":"t"}"#, TRAPS);
        load(
            &mut client,
            "ops",
            r#"{"permissions":{"allow_write":true}}"#,
            &OPS.replace("(export \"endless\")", "(export \"write_endless\")"),
        );
        for (line, code) in [
            ("FCALL memory_ 0", "TRAP"),
            ("FCALL unreachable 0", "TRAP"),
            ("FCALL division 0 0", "TRAP"),
            ("FCALL deep 0", "STACK"),
            ("FCALL string_trap 1 k v", "TRAP"),
        ] {
            let reply = client.run(line);
            assert!(
                reply.error().is_some_and(|error| error.contains(code)),
                "{line}: {reply:?}"
            );
        }
        client.run("CONFIG SET busy-reply-threshold 20");
        // Collected writes do not count as writes yet, so the engine allows the kill.
        let get = "*1\r\n$1\r\nl\r\n";
        client.send(&encode(&["FCALL", "write_endless", "1", "k", "GET", get]));
        let mut other = engine.client();
        until(&mut other, &["FUNCTION", "KILL"], |reply| {
            reply.error().is_none()
        });
        let reply = client.reply();
        assert!(
            reply.error().is_some_and(|error| error.contains("KILLED")),
            "{reply:?}"
        );
        assert_eq!(client.run("EXISTS k l"), Reply::Int(0));
    }
}
