//! Bundles that no trusted key signed for this place and time.

use std::fs;
use std::os::unix::fs::symlink;

use ferrite_tests::{Reply, Server};

use super::workshop::{Workshop, artifacts, loaded, refused};

#[test]
fn each_refusal_says_its_reason() {
    let workshop = Workshop::new();
    let revoked = workshop.key_id("other");
    let server = workshop
        .server()
        .arguments(&["--wasm-security-revoked-keys", &revoked])
        .start();
    let mut client = server.client();
    for (bundle, reason) in [
        (workshop.bundle(&[]), "the bundle is not signed"),
        (
            workshop.bundle(&["--sign", "other.key"]),
            "which is revoked",
        ),
        (
            workshop.signed(&["--created", "1000", "--expires-in", "1s"]),
            "the bundle expired at 1970-01-01 00:16:41 UTC",
        ),
        (
            workshop.make("report", "1", &["--sign", "ci.key"]),
            "the bundle is signed as function \"report\"; load it by that name",
        ),
    ] {
        let error = refused(
            &client.call(&[b"WASM.LOAD".as_slice(), b"count", &bundle]),
            "BADSIG ",
        );
        assert!(error.contains(reason), "{error}");
    }
    let unknown = Workshop::new();
    let error = refused(
        &client.call(&[b"WASM.LOAD".as_slice(), b"count", &unknown.signed(&[])]),
        "BADSIG ",
    );
    assert!(error.contains("which is not trusted"), "{error}");
    assert_eq!(artifacts(&workshop.cache()), 0);
    assert_eq!(client.run("WASM.LIST"), Reply::Array(Vec::new()));
}

#[test]
fn a_server_without_keys_loads_no_bundle() {
    let workshop = Workshop::new();
    let server = Server::start();
    let mut client = server.client();
    let reply = client.call(&[b"WASM.LOAD".as_slice(), b"count", &workshop.signed(&[])]);
    let error = refused(&reply, "BADSIG ");
    assert!(
        error.contains("add its public key to trusted_keys"),
        "{error}"
    );
}

#[test]
fn a_new_key_takes_over_from_an_old_one() {
    let workshop = Workshop::new();
    let (old, new) = (workshop.key_id("ci"), workshop.path("other.pub"));
    let new = new.to_str().expect("text");
    let both = ["--wasm-security-trusted-keys", new];
    let server = workshop.lean_server().arguments(&both).start();
    let mut client = server.client();
    loaded(&client.call(&[
        b"WASM.LOAD".as_slice(),
        b"count",
        &workshop.signed(&["--sequence", "1"]),
    ]));
    let second = workshop.bundle(&["--sequence", "2", "--sign", "other.key"]);
    loaded(&client.call(&[b"WASM.LOAD".as_slice(), b"count", &second, b"REPLACE"]));
    assert!(server.stop().success());

    let revoked = [&both[..], &["--wasm-security-revoked-keys", &old]].concat();
    let server = workshop.lean_server().arguments(&revoked).start();
    let mut client = server.client();
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
    let third = workshop.signed(&["--sequence", "3"]);
    let reply = client.call(&[b"WASM.LOAD".as_slice(), b"count", &third, b"REPLACE"]);
    assert!(refused(&reply, "BADSIG ").contains("which is revoked"));
}

#[test]
fn what_a_revoked_key_signed_stops_at_the_next_start_and_its_code_goes() {
    let workshop = Workshop::new();
    let server = workshop.lean_server().start();
    let mut client = server.client();
    let digest = loaded(&client.call(&[b"WASM.LOAD".as_slice(), b"count", &workshop.signed(&[])]));
    assert!(server.stop().success());

    let id = workshop.key_id("ci");
    let revoked = ["--wasm-security-revoked-keys", id.as_str()];
    let server = workshop.lean_server().arguments(&revoked).start();
    let mut client = server.client();
    let error = refused(&client.run("WASM.CALL count KEYS n"), "BADSIG ");
    assert!(error.contains("which is revoked"), "{error}");
    assert_eq!(artifacts(&workshop.cache()), 1, "it is still there");
    // Its digest does not load it either, and there is no compiler.
    refused(
        &client.call(&["WASM.LOAD", "again", &digest]),
        "NOARTIFACT ",
    );
    assert_eq!(artifacts(&workshop.cache()), 0);
    assert!(
        server.log().contains("moved code out of the cache"),
        "{}",
        server.log()
    );
    assert!(server.stop().success());

    // A compiler makes clean code from the same source.
    let server = workshop.server().arguments(&revoked).start();
    let mut client = server.client();
    loaded(&client.call(&[
        "WASM.LOAD",
        "again",
        &digest,
        "PERMISSIONS",
        r#"{"allow_write":true}"#,
    ]));
    assert_eq!(client.run("WASM.CALL again KEYS n"), Reply::Int(1));
}

#[test]
fn a_bundle_must_lie_below_the_module_folder() {
    let workshop = Workshop::new();
    fs::write(workshop.path("b.cwasm.tar"), workshop.signed(&[])).expect("written");
    symlink(
        workshop.path("b.cwasm.tar"),
        workshop.modules().join("link.cwasm.tar"),
    )
    .expect("linked");
    fs::create_dir(workshop.modules().join("folder.cwasm.tar")).expect("made");
    let server = workshop.server().start();
    let mut client = server.client();
    for (path, code) in [
        ("../b.cwasm.tar", "NOPERM "),
        ("link.cwasm.tar", "NOPERM "),
        (
            workshop.path("b.cwasm.tar").to_str().expect("text"),
            "NOPERM ",
        ),
        ("folder.cwasm.tar", "INVALID "),
        ("missing.cwasm.tar", "INVALID "),
    ] {
        refused(&client.call(&["WASM.LOAD", "count", path]), code);
    }
}

#[test]
fn wrong_keys_keep_the_server_from_starting() {
    let workshop = Workshop::new();
    for (arguments, reason) in [
        (
            ["--wasm-security-trusted-keys", "missing.pub"],
            "is neither a minisign public key nor the path of its file",
        ),
        (["--wasm-security-revoked-keys", "12"], "is not a key id"),
        (
            ["--wasm-security-require-signed", "true"],
            "nothing could be loaded",
        ),
    ] {
        let log = Server::builder()
            .dir(&workshop.path(""))
            .arguments(&arguments)
            .try_start()
            .expect_err("it is wrong");
        assert!(log.contains(reason), "{log}");
    }
}
