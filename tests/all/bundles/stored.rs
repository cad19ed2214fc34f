//! Releases that are loaded by the digest of their source, where only signed code is loaded.

use std::fs;

use ferrite_tests::{Client, Reply};

use super::workshop::{Workshop, loaded, refused, signed_manifest};

/// The reply of the counting function for a key that it may not access.
const DENIED: Reply = Reply::Int(-16);

const SIGNED_ONLY: [&str; 2] = ["--wasm-security-require-signed", "true"];

/// Puts a signed bundle into the server's cache; returns the digest of its source.
fn import(workshop: &Workshop, bundle: &[u8]) -> String {
    fs::write(workshop.path("import.tar"), bundle).expect("written");
    let cache = workshop.cache();
    let cache = cache.to_str().expect("text");
    let told = workshop.wasmc(&[
        "cache",
        "import",
        "import.tar",
        "--key",
        "ci.pub",
        "--cache",
        cache,
    ]);
    let at = told.find("blake3:").expect("the digest is told");
    told[at..at + "blake3:".len() + 64].to_owned()
}

/// Puts the signed manifest of a bundle into the cache, unchecked.
fn store(workshop: &Workshop, digest: &str, bundle: &[u8]) {
    let (manifest, signature) = signed_manifest(bundle);
    let name = format!(
        "{}-{}.json",
        &digest["blake3:".len()..],
        blake3::hash(manifest.as_bytes()).to_hex()
    );
    let path = workshop.cache().join("v1/release").join(name);
    let text = serde_json::json!({"manifest": manifest, "signature": signature}).to_string();
    fs::write(&path, text).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o400);
    fs::set_permissions(&path, mode).expect("set");
}

fn load(client: &mut Client, name: &str, digest: &str, more: &[&str]) -> Reply {
    let words = [&["WASM.LOAD", name, digest, "REPLACE"][..], more].concat();
    client.call(&words)
}

#[test]
fn a_digest_names_a_release_with_its_name_and_its_grants() {
    let workshop = Workshop::new();
    let bundle = workshop.signed(&[
        "--permissions",
        r#"{"allowed_keys":["a:*"],"allow_write":true}"#,
    ]);
    let digest = import(&workshop, &bundle);
    let server = workshop.lean_server().arguments(&SIGNED_ONLY).start();
    let mut client = server.client();
    for (name, more, code, reason) in [
        ("zz", &[][..], "BADSIG ", "is signed as function \"count\""),
        (
            "count",
            &["PERMISSIONS", r#"{"allow_write":true}"#],
            "NOPERM ",
            "more than the bundle was signed for",
        ),
        (
            "count",
            &["LIMITS", r#"{"max_memory":"256MB"}"#],
            "NOPERM ",
            "more than the bundle was signed for",
        ),
        (
            "count",
            &["ISOLATION", "reuse"],
            "NOPERM ",
            "more than the bundle was signed for",
        ),
    ] {
        let error = refused(&load(&mut client, name, &digest, more), code);
        assert!(error.contains(reason), "{name} {more:?}: {error}");
    }
    assert_eq!(loaded(&load(&mut client, "count", &digest, &[])), digest);
    assert_eq!(client.run("WASM.CALL count KEYS a:n"), Reply::Int(1));
    assert_eq!(client.run("WASM.CALL count KEYS b:n"), DENIED);
    let info = client.run("WASM.INFO count");
    let release = info.at("bundle").expect("the release is told");
    assert_eq!(release.at("version").and_then(Reply::text), Some("1.2.3"));
    // Less than it was signed for.
    let narrow = [
        "PERMISSIONS",
        r#"{"allowed_keys":["a:1"],"allow_write":true}"#,
    ];
    loaded(&load(&mut client, "count", &digest, &narrow));
    assert_eq!(client.run("WASM.CALL count KEYS a:n"), DENIED);
    // Its code under a digest of which nothing is known.
    let other = format!("blake3:{}", "0".repeat(64));
    let error = refused(&load(&mut client, "count", &other, &[]), "BADSIG ");
    assert!(error.contains("no release"), "{error}");
}

#[test]
fn a_release_by_digest_is_neither_older_nor_expired_nor_of_another_key() {
    let workshop = Workshop::new();
    // All releases are of one source.
    let digest = import(&workshop, &workshop.signed(&["--sequence", "3"]));
    let server = workshop.lean_server().arguments(&SIGNED_ONLY).start();
    let mut client = server.client();
    let words: [&[u8]; 3] = [
        b"WASM.LOAD",
        b"count",
        &workshop.signed(&["--sequence", "5"]),
    ];
    loaded(&client.call(&words));
    // The newest stored release is taken, and none that is older is accepted after it.
    loaded(&load(&mut client, "count", &digest, &[]));
    let sequence = |client: &mut Client| {
        let info = client.run("WASM.INFO count");
        info.at("bundle")?.at("sequence")?.int()
    };
    assert_eq!(sequence(&mut client), Some(5));
    let words: [&[u8]; 4] = [
        b"WASM.LOAD",
        b"count",
        &workshop.signed(&["--sequence", "7", "--target", "x86_64-unknown-linux-gnu"]),
        b"REPLACE",
    ];
    loaded(&client.call(&words));
    assert_eq!(sequence(&mut client), Some(7));
    loaded(&client.call(&["WASM.RELOAD", "count", &digest]));
    assert_eq!(sequence(&mut client), Some(7));
    assert!(server.stop().success());

    // Without the newer releases, only an older one is left.
    let releases = workshop.cache().join("v1/release");
    let mut removed = 0;
    for file in fs::read_dir(&releases).expect("there").flatten() {
        let text = fs::read_to_string(file.path()).expect("text");
        if !text.contains(r#"\"sequence\": 3,"#) {
            fs::remove_file(file.path()).expect("removed");
            removed += 1;
        }
    }
    assert_eq!(removed, 2);
    let server = workshop.lean_server().arguments(&SIGNED_ONLY).start();
    let mut client = server.client();
    let error = refused(&load(&mut client, "count", &digest, &[]), "BADSIG ");
    assert!(error.contains("sequence 7"), "{error}");
    // The older one would be tried in the place of one that is refused.
    let remove_all = || {
        for file in fs::read_dir(&releases).expect("there").flatten() {
            fs::remove_file(file.path()).expect("removed");
        }
    };
    remove_all();
    // One that was stored while it was valid.
    let expired = workshop.signed(&["--created", "1000", "--expires-in", "1h", "--sequence", "9"]);
    store(&workshop, &digest, &expired);
    let error = refused(&load(&mut client, "count", &digest, &[]), "BADSIG ");
    assert!(error.contains("expired"), "{error}");
    // One that somebody else signed.
    let foreign = workshop.bundle(&["--sequence", "9", "--sign", "other.key"]);
    store(&workshop, &digest, &foreign);
    refused(&load(&mut client, "count", &digest, &[]), "BADSIG ");
    assert!(server.stop().success());

    remove_all();
    store(&workshop, &digest, &workshop.signed(&["--sequence", "9"]));
    // A key that is revoked since.
    let id = workshop.key_id("ci");
    let revoked = ["--wasm-security-revoked-keys", &id];
    let server = workshop
        .lean_server()
        .arguments(&SIGNED_ONLY)
        .arguments(&revoked)
        .start();
    let error = refused(
        &load(&mut server.client(), "count", &digest, &[]),
        "BADSIG ",
    );
    assert!(error.contains("revoked"), "{error}");
}

#[test]
fn a_release_that_somebody_changed_in_the_cache_is_refused() {
    let workshop = Workshop::new();
    let digest = import(&workshop, &workshop.signed(&[]));
    let releases = workshop.cache().join("v1/release");
    let file = fs::read_dir(&releases)
        .expect("there")
        .flatten()
        .next()
        .expect("one release");
    let text = fs::read_to_string(file.path()).expect("text");
    for (from, to, reason) in [
        (
            r#"\"allow_write\": true"#,
            r#"\"allow_write\":  true"#,
            "no release",
        ),
        (
            r#"\"name\": \"count\""#,
            r#"\"name\": \"zount\""#,
            "no release",
        ),
    ] {
        assert!(text.contains(from), "{text}");
        // Under the name that the changed manifest would have, and under the old one.
        for rename in [true, false] {
            let changed = text.replace(from, to);
            let path = if rename {
                let parsed: serde_json::Value = serde_json::from_str(&changed).expect("JSON");
                let manifest = parsed["manifest"].as_str().expect("text");
                let name = format!(
                    "{}-{}.json",
                    &digest["blake3:".len()..],
                    blake3::hash(manifest.as_bytes()).to_hex()
                );
                releases.join(name)
            } else {
                file.path()
            };
            fs::remove_file(file.path()).ok();
            fs::write(&path, &changed).expect("written");
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400))
                .expect("set");
            let server = workshop.lean_server().arguments(&SIGNED_ONLY).start();
            let error = refused(
                &load(&mut server.client(), "count", &digest, &[]),
                "BADSIG ",
            );
            let wrong = error.contains("signature") || error.contains(reason);
            assert!(wrong, "{error}");
            assert!(server.stop().success());
            fs::remove_file(&path).expect("removed");
        }
    }
}
