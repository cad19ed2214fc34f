//! Functions from end to end: loading, calling, inspecting, removing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrite_tests::{Client, Reply, Server, encode};

use crate::support::guests::{ADD1, COUNT, EVERY_TYPE, MIRROR};

const READ_WRITE: &str = r#"{"allowed_keys":["*"],"allow_write":true}"#;

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn define(client: &mut Client, name: &str, source: &str) -> String {
    let reply = client.call(&["WASM.DEFINE", name, source, "PERMISSIONS", READ_WRITE]);
    reply
        .text()
        .unwrap_or_else(|| panic!("{name} was not defined: {reply:?}"))
        .to_owned()
}

#[test]
fn add1_of_the_proposal() {
    let server = Server::start();
    let mut client = server.client();
    let digest = define(&mut client, "add1", ADD1);
    assert!(
        digest.starts_with("blake3:") && digest.len() == 71,
        "{digest}"
    );
    assert_eq!(client.run("WASM.CALL add1 ARGS 41"), Reply::Int(42));
    assert_eq!(client.run("wasm.call add1.run args 41"), Reply::Int(42));
    assert_eq!(client.run("FCALL add1 0 41"), Reply::Int(42));
    assert_eq!(client.run("FCALL_RO add1 0 -1"), Reply::Int(0));
}

#[test]
fn a_function_reads_and_writes_data() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "count", COUNT);
    assert_eq!(client.run("WASM.CALL count KEYS visits"), Reply::Int(1));
    assert_eq!(client.run("WASM.CALL count KEYS visits"), Reply::Int(2));
    assert_eq!(client.run("GET visits"), bulk("2"));
    assert_eq!(client.run("SET visits 40"), Reply::Simple("OK".into()));
    assert_eq!(client.run("FCALL count 1 visits"), Reply::Int(41));
    // Each connection's calls work in its selected database.
    assert_eq!(client.run("SELECT 3"), Reply::Simple("OK".into()));
    assert_eq!(client.run("WASM.CALL count KEYS visits"), Reply::Int(1));
    assert_eq!(client.run("SELECT 0"), Reply::Simple("OK".into()));
    assert_eq!(client.run("GET visits"), bulk("41"));
}

#[test]
fn keys_and_arguments_arrive() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "mirror", MIRROR);
    for resp3 in [false, true] {
        if resp3 {
            client.hello3();
        }
        let reply = client.run("WASM.CALL mirror KEYS k1 k2 ARGS a1 a2 a3");
        assert_eq!(matches!(reply, Reply::Map(_)), resp3, "{reply:?}");
        assert_eq!(reply.at("keys"), Some(&Reply::Int(2)));
        assert_eq!(reply.at("args"), Some(&Reply::Int(3)));
        assert_eq!(reply.at("key"), Some(&bulk("k1")));
        assert_eq!(reply.at("arg"), Some(&bulk("a1")));
    }
    let binary = [b"FCALL".as_slice(), b"mirror", b"1", b"\0\r\n\xff", b""];
    let reply = client.call(&binary);
    assert_eq!(reply.at("key"), Some(&Reply::Bulk(b"\0\r\n\xff".to_vec())));
    assert_eq!(reply.at("arg"), Some(&bulk("")));
}

#[test]
fn every_type_of_reply_in_both_protocols() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "types", EVERY_TYPE);
    let binary = Reply::Bulk(b"FINE\0\r\n".to_vec());
    assert_eq!(
        client.run("WASM.CALL types"),
        Reply::Array(vec![
            Reply::Null,
            Reply::Int(1),
            Reply::Int(-7),
            bulk("0.5"),
            Reply::Simple("FINE".into()),
            binary.clone(),
        ])
    );
    client.hello3();
    assert_eq!(
        client.run("WASM.CALL types"),
        Reply::Array(vec![
            Reply::Null,
            Reply::Bool(true),
            Reply::Int(-7),
            Reply::Double(0.5),
            Reply::Simple("FINE".into()),
            binary,
        ])
    );
}

#[test]
fn a_pipeline_of_calls_and_commands_keeps_its_order() {
    let server = Server::start();
    let mut client = server.client();
    let mut requests = Vec::new();
    // The first request compiles, which takes long; the others wait for it.
    requests.extend(encode(&[
        "WASM.DEFINE",
        "count",
        COUNT,
        "PERMISSIONS",
        READ_WRITE,
    ]));
    for _ in 0..100 {
        requests.extend(encode(&["WASM.CALL", "count", "KEYS", "n"]));
        requests.extend(encode(&["INCR", "n"]));
    }
    client.send(&requests);
    assert!(
        client
            .reply()
            .text()
            .expect("a digest")
            .starts_with("blake3:")
    );
    for number in 1..=200 {
        assert_eq!(client.reply(), Reply::Int(number));
    }
}

#[test]
fn sources_come_as_file_bytes_base64_and_digest() {
    let server = Server::start();
    let modules = server.dir().join("wasm");
    std::fs::create_dir_all(modules.join("deep")).expect("made");
    std::fs::write(modules.join("deep/add1.wat"), ADD1).expect("written");
    let mut client = server.client();
    let digest = client.call(&["WASM.LOAD", "by_path", "deep/add1.wat"]);
    let digest = digest
        .text()
        .unwrap_or_else(|| panic!("{digest:?}"))
        .to_owned();
    // The smallest module with an entry: exports `run`, which returns 7.
    let wasm: &[u8] = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x07\x07\x01\x03run\0\0\x0a\x06\x01\x04\0\x41\x07\x0b";
    let by_value = client.call(&[b"WASM.LOAD".as_slice(), b"by_value", wasm]);
    assert!(by_value.text().is_some(), "{by_value:?}");
    let by_base64 = client.call(&["WASM.LOAD", "by_base64", &STANDARD.encode(wasm)]);
    assert_eq!(by_value, by_base64);
    let by_digest = client.call(&["WASM.LOAD", "by_digest", &digest]);
    assert_eq!(by_digest.text(), Some(digest.as_str()));
    assert_eq!(client.run("WASM.CALL by_path ARGS 1"), Reply::Int(2));
    assert_eq!(client.run("WASM.CALL by_value"), Reply::Int(7));
    assert_eq!(client.run("WASM.CALL by_base64"), Reply::Int(7));
    assert_eq!(client.run("WASM.CALL by_digest ARGS 1"), Reply::Int(2));
}

#[test]
fn functions_are_listed_shown_replaced_and_removed() {
    let server = Server::start();
    let mut client = server.client();
    let digest = define(&mut client, "add1", ADD1);
    client.run("WASM.CALL add1 ARGS 1");
    let info = client.run("WASM.INFO add1");
    assert_eq!(
        info.at("digest").and_then(Reply::text),
        Some(digest.as_str()),
        "{info:?}"
    );
    let list = format!("{:?}", client.run("WASM.LIST"));
    assert!(list.contains("add1") && list.contains(&digest), "{list}");
    let exports = format!("{:?}", client.run("WASM.EXPORTS add1"));
    assert!(
        exports.contains("run") && exports.contains("i32"),
        "{exports}"
    );

    let again = client.call(&["WASM.DEFINE", "add1", COUNT]);
    assert!(
        again.error().expect("it exists").starts_with("EXISTS "),
        "{again:?}"
    );
    assert_eq!(client.run("WASM.CALL add1 ARGS 1"), Reply::Int(2));
    let replaced = client.call(&[
        "WASM.DEFINE",
        "add1",
        COUNT,
        "PERMISSIONS",
        READ_WRITE,
        "REPLACE",
    ]);
    assert!(replaced.error().is_none(), "{replaced:?}");
    assert_eq!(client.run("WASM.CALL add1 KEYS k"), Reply::Int(1));

    assert_eq!(client.run("WASM.UNLOAD add1"), Reply::Simple("OK".into()));
    let gone = client.run("WASM.CALL add1 ARGS 1");
    assert!(
        gone.error().expect("it is gone").starts_with("NOFUNC "),
        "{gone:?}"
    );
    let gone = client.run("WASM.UNLOAD add1");
    assert!(
        gone.error().expect("it is gone").starts_with("NOFUNC "),
        "{gone:?}"
    );
}

#[test]
fn calls_go_on_in_the_background() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "count", COUNT);
    let id = client.run("WASM.CALLASYNC count KEYS n");
    let id = id.text().expect("an id").to_owned();
    let result = client.run(&format!("WASM.RESULT {id} BLOCK 0"));
    assert_eq!(result, Reply::Int(1));
    assert_eq!(
        client.run(&format!("WASM.RESULT {id}")),
        Reply::Int(1),
        "it can be fetched again"
    );
    assert_eq!(client.run("GET n"), bulk("1"));
    let unknown = client.run("WASM.RESULT 0123456789abcdef");
    assert!(
        unknown.error().expect("unknown").starts_with("INVALID "),
        "{unknown:?}"
    );
    let gone = client.run("WASM.CALLASYNC nothing");
    assert!(
        gone.error().expect("unknown").starts_with("NOFUNC "),
        "{gone:?}"
    );
}

#[test]
fn a_profile_tells_and_takes_back() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "count", COUNT);
    let profile = client.run("WASM.PROFILE count KEYS n");
    let text = format!("{profile:?}");
    assert!(
        profile.error().is_none() && text.contains("incr_by"),
        "{text}"
    );
    assert_eq!(client.run("EXISTS n"), Reply::Int(0));
}

#[test]
fn calls_are_killed_by_name() {
    let server = Server::builder()
        .arguments(&crate::support::guests::LONG_CALLS)
        .start();
    let mut client = server.client();
    define(&mut client, "endless", crate::support::guests::ENDLESS);
    let mut busy = server.client();
    busy.send(b"WASM.CALL endless\r\n");
    crate::support::waiting::wait_for_call(&mut client);
    assert_eq!(client.run("WASM.KILL endless"), Reply::Int(1));
    let reply = busy.reply();
    assert!(
        reply.error().expect("killed").starts_with("KILLED "),
        "{reply:?}"
    );
    assert_eq!(busy.run("PING"), Reply::Simple("PONG".into()));
}

#[test]
fn a_reload_under_load_fails_no_call() {
    const RELOADS: usize = 50;
    let one = r#"(module (func (export "run") (result i32) (i32.const 1)))"#;
    let two = r#"(module (func (export "run") (result i32) (i32.const 2)))"#;
    let server = Server::start();
    let modules = server.dir().join("wasm");
    std::fs::create_dir_all(&modules).expect("made");
    std::fs::write(modules.join("one.wat"), one).expect("written");
    std::fs::write(modules.join("two.wat"), two).expect("written");
    let mut client = server.client();
    assert!(client.run("WASM.LOAD f one.wat").error().is_none());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let mut caller = server.client();
            let mut calls = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let reply = caller.run("WASM.CALL f");
                assert!(matches!(reply, Reply::Int(1 | 2)), "{reply:?}");
                calls += 1;
            }
            calls
        });
        for number in 0..RELOADS {
            let file = ["two.wat", "one.wat"][number % 2];
            let reply = client.run(&format!("WASM.RELOAD f {file}"));
            assert!(reply.error().is_none(), "{reply:?}");
            let answer = i64::from(number % 2 == 0) + 1;
            assert_eq!(
                client.run("WASM.CALL f"),
                Reply::Int(answer),
                "once reloaded, the new code"
            );
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(calling.join().expect("no call failed") > 0);
    });
}
