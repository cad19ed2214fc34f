//! A component as others write them in Python: by componentize-py, with an interface of WASI alone.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::fs;
use std::process::Command;

use ferrite_tests::{Reply, Server};

use super::{folder, python};

#[test]
fn keyvalue_works_in_python() {
    let Some(program) = python().map(|python| python.with_file_name("componentize-py")) else {
        return;
    };
    if !program.is_file() {
        eprintln!("skipped: there is no componentize-py beside FERRITE_PYTHON");
        return;
    }
    let scratch = tempfile::tempdir().expect("there is room for a folder");
    let wit = scratch.path().join("wit");
    let sources = folder();
    for (from, to) in [
        ("visits/world.wit", "world.wit"),
        (
            "../../../../sdk/wit/ferrite.wit",
            "deps/ferrite/ferrite.wit",
        ),
        (
            "guest/wit/deps/keyvalue/keyvalue.wit",
            "deps/keyvalue/keyvalue.wit",
        ),
    ] {
        let to = wit.join(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("it can be made");
        fs::copy(sources.join(from), to).expect("it can be copied");
    }
    let component = scratch.path().join("visits.wasm");
    let built = Command::new(program)
        .arg("--wit-path")
        .arg(&wit)
        .args(["--world", "visits", "componentize", "app", "--python-path"])
        .arg(sources.join("visits"))
        .arg("--output")
        .arg(&component)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("it can be started");
    assert!(built.status.success(), "{built:?}");

    let server = Server::builder()
        .config("[wasm]\nmodule_dir = \"modules\"\n")
        .dir(scratch.path())
        .start();
    let modules = server.dir().join("modules");
    fs::create_dir_all(&modules).expect("it can be made");
    fs::rename(&component, modules.join("visits.wasm")).expect("it can be moved");
    let mut client = server.client();
    client.hello3();
    let words: [&[u8]; 7] = [
        b"WASM.LOAD",
        b"visits",
        b"visits.wasm",
        b"PERMISSIONS",
        br#"{"allow_write": true, "allowed_keys": ["visits:*"]}"#,
        b"LIMITS",
        br#"{"max_memory": "64MB", "max_fuel": 200000000}"#,
    ];
    let loaded = client.call(&words);
    assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
    for number in 1..=3 {
        let reply = client.run("WASM.CALL visits ARGS ann");
        let last = Reply::Bulk(number.to_string().into_bytes());
        let expected = Reply::Array(vec![Reply::Int(number), last, Reply::Null]);
        assert_eq!(reply, expected);
    }
    assert_eq!(client.run("GET visits:ann"), Reply::Bulk(b"3".to_vec()));
}
