//! Files of earlier versions are read, or refused with an error that says what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ferrite_tests::{Client, EngineKind, Reply, Server};

/// Folders of `tests/formats` that a server of that version has left.
const FOLDERS: [&str; 4] = ["v1/killed", "v1/closed", "v1.1/killed", "v1.2/killed"];

fn formats() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("formats")
}

/// Copies the files below a folder for this user alone, as the server made them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("ours");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).expect("ours");
        }
    }
}

fn data_is_whole(client: &mut Client) {
    for (line, expected) in [
        ("GET text", "value"),
        ("GET mortal", "value"),
        ("PEXPIRETIME mortal", "4102444800000"),
        ("INCR number", "43"),
        ("HGET hash f", "v"),
        ("HGET hash g", "w"),
        ("HPEXPIRETIME hash FIELDS 2 f g", "[4102444800000 -1]"),
        ("SCARD set", "3"),
        ("SISMEMBER set n", "1"),
        ("ZRANGE zset 0 -1 WITHSCORES", "[n -2 m 1.5 o inf]"),
        ("LRANGE list 0 -1", "[x b c d]"),
        ("STRLEN pages", "9003"),
        ("GETRANGE pages 9000 -1", "end"),
        ("EXISTS gone second", "0"),
        ("DBSIZE", "9"),
        ("SELECT 3", "OK"),
        ("GET other", "7"),
        ("DBSIZE", "1"),
        ("SELECT 0", "OK"),
    ] {
        assert_eq!(plain(&client.run(line)), expected, "{line}");
    }
    let binary = client.run("GET binary");
    assert_eq!(binary, Reply::Bulk(b"\x00\xff\r\n".to_vec()));
}

/// A reply as one line.
fn plain(reply: &Reply) -> String {
    match reply {
        Reply::Int(number) => number.to_string(),
        Reply::Array(elements) => {
            let words: Vec<String> = elements.iter().map(plain).collect();
            format!("[{}]", words.join(" "))
        }
        reply => reply
            .text()
            .unwrap_or_else(|| panic!("{reply:?}"))
            .to_owned(),
    }
}

#[test]
fn a_folder_of_an_earlier_version_is_served() {
    for folder in FOLDERS {
        let place = tempfile::tempdir().expect("a temporary folder");
        let dir = place.path().join("server");
        copy(&formats().join(folder), &dir);
        // The second time it is what this version has written.
        for value in ["42", "42"] {
            let server = Server::builder()
                .dir(&dir)
                .arguments(&["--store-durability", "always"])
                .start();
            let mut client = server.client();
            data_is_whole(&mut client);
            assert_eq!(
                client.run(&format!("SET number {value}")).text(),
                Some("OK")
            );
            let info = client.run("WASM.INFO seven");
            let description = info.at("description").and_then(Reply::text);
            assert_eq!(description, Some("an old one"), "{folder}: {info:?}");
            // Native code of another engine is not run; the source is compiled again.
            assert_eq!(client.run("WASM.CALL seven"), Reply::Int(7), "{folder}");
            assert!(server.stop().success(), "{folder}");
        }
    }
}

#[test]
fn a_file_of_an_engine_with_an_earlier_module_is_loaded() {
    for kind in EngineKind::here() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let dir = place.path().join("engine");
        copy(&formats().join("v1/engine"), &dir);
        let engine = kind.builder().dir(&dir).start();
        let mut client = engine.client();
        assert_eq!(client.run("GET text").text(), Some("value"), "{kind:?}");
        assert_eq!(client.run("HGET hash f").text(), Some("v"), "{kind:?}");
        let info = client.run("WASM.INFO seven");
        let description = info.at("description").and_then(Reply::text);
        assert_eq!(description, Some("an old one"), "{kind:?}: {info:?}");
        let called = client.run("WASM.CALL seven");
        assert_eq!(called, Reply::Int(7), "{kind:?}");
        for (list, name) in [
            ("WASM.TRIGGER LIST", "watch"),
            ("WASM.SCHEDULE LIST", "daily"),
        ] {
            let listed = format!("{:?}", client.run(list));
            assert!(listed.contains(name), "{kind:?}: {listed}");
        }
    }
}

#[test]
fn a_bundle_of_an_earlier_version_is_loaded_with_its_rights() {
    let formats = formats().join("v1");
    let place = tempfile::tempdir().expect("a temporary folder");
    let modules = place.path().join("modules");
    fs::create_dir(&modules).expect("created");
    fs::copy(
        formats.join("count.cwasm.tar"),
        modules.join("count.cwasm.tar"),
    )
    .expect("copied");
    let key = formats.join("signer.pub");
    let server = Server::builder()
        .dir(place.path())
        .config(&format!(
            "[wasm]\nmodule_dir = \"modules\"\n[wasm.security]\nrequire_signed = true\ntrusted_keys = [{key:?}]\n"
        ))
        .start();
    let mut client = server.client();
    let loaded = client.run("WASM.LOAD count count.cwasm.tar");
    assert_eq!(loaded.error(), None);
    assert_eq!(client.run("WASM.CALL count KEYS n:1"), Reply::Int(3));
    assert_eq!(client.run("WASM.CALL count KEYS n:1"), Reply::Int(6));
    // Its permissions are those that were signed: it was refused, and gave what it had read.
    client.run("WASM.CALL count KEYS m:1");
    assert_eq!(client.run("EXISTS m:1"), Reply::Int(0));
    let info = client.run("WASM.INFO count");
    let bundle = info.at("bundle");
    let version = bundle.and_then(|it| it.at("version")?.text());
    assert_eq!(version, Some("1.0.0"), "{info:?}");
}
