//! Signed bundles inside the engines: the trusted keys, and the state after a restart.

use std::fs;
use std::path::Path;

use ferrite_tests::{Engine, EngineKind, Reply};
use serde_json::{Value, json};

use super::until;
use crate::bundles::workshop::{Workshop, loaded, refused, signed_manifest};

#[test]
fn bundles_are_loaded_if_a_trusted_key_signed_them() {
    for kind in EngineKind::here() {
        let workshop = Workshop::new();
        let dir = workshop.path("engine");
        fs::create_dir_all(dir.join("modules")).expect("made");
        let write = |name: &str, bundle: Vec<u8>| {
            fs::write(dir.join("modules").join(name), bundle).expect("written");
        };
        write("old.cwasm.tar", workshop.signed(&["--sequence", "1"]));
        write("new.cwasm.tar", workshop.signed(&["--sequence", "2"]));
        write(
            "foreign.cwasm.tar",
            workshop.bundle(&["--sign", "other.key"]),
        );
        let key = workshop.path("ci.pub");
        let key = key.to_str().expect("text");
        let start = || {
            kind.builder()
                .dir(&dir)
                .module(&["module-dir", "modules", "trusted-key", key])
                .module(&["require-signed", "yes"])
                .start()
        };
        let engine = start();
        let mut client = engine.client();
        refused(&client.run("WASM.LOAD count foreign.cwasm.tar"), "BADSIG");
        refused(
            &client.call(&["WASM.DEFINE", "plain", "(module (func (export \"run\")))"]),
            "BADSIG",
        );
        loaded(&client.run("WASM.LOAD count new.cwasm.tar"));
        assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
        refused(
            &client.run("WASM.LOAD count old.cwasm.tar REPLACE"),
            "BADSIG",
        );
        client.run("SAVE");
        drop(engine);

        // A restart finds code and facts again, and still refuses an older release.
        let engine = start();
        let mut client = engine.client();
        assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(2));
        let info = client.run("WASM.INFO count");
        let release = info.at("bundle").expect("it came in one");
        assert_eq!(release.at("sequence").and_then(Reply::int), Some(2));
        refused(
            &client.run("WASM.LOAD count old.cwasm.tar REPLACE"),
            "BADSIG",
        );
    }
}

/// Imports a bundle into the cache of an engine in this folder; returns the digest of its source.
fn import(workshop: &Workshop, dir: &Path, bundle: &[u8]) -> String {
    fs::write(workshop.path("import.tar"), bundle).expect("written");
    let cache = dir.join("ferrite-cache");
    let cache = cache.to_str().expect("text");
    let arguments = [
        "cache",
        "import",
        "import.tar",
        "--key",
        "ci.pub",
        "--cache",
        cache,
    ];
    let told = workshop.wasmc(&arguments);
    let at = told.find("blake3:").expect("the digest is told");
    told[at..at + "blake3:".len() + 64].to_owned()
}

/// Starts an engine that runs only what `ci` signed.
fn signed_only(kind: EngineKind, workshop: &Workshop, dir: &Path) -> Engine {
    let key = workshop.path("ci.pub");
    let key = key.to_str().expect("text");
    kind.builder()
        .dir(dir)
        .module(&["trusted-key", key, "require-signed", "yes"])
        .start()
}

#[test]
fn a_digest_names_a_release_in_libraries_too() {
    for kind in EngineKind::here() {
        let workshop = Workshop::new();
        let dir = workshop.path("engine");
        fs::create_dir_all(&dir).expect("made");
        let grant = r#"{"allowed_keys":["a:*"],"allow_write":true}"#;
        let bundle = workshop.signed(&["--permissions", grant]);
        let digest = import(&workshop, &dir, &bundle);
        let engine = signed_only(kind, &workshop, &dir);
        let mut client = engine.client();
        refused(&client.call(&["WASM.LOAD", "zz", &digest]), "BADSIG ");
        let wide = [
            "WASM.LOAD",
            "count",
            &digest,
            "PERMISSIONS",
            r#"{"allow_write":true}"#,
        ];
        refused(&client.call(&wide), "NOPERM ");
        assert_eq!(
            loaded(&client.call(&["WASM.LOAD", "count", &digest])),
            digest
        );
        assert_eq!(client.run("WASM.CALL count KEYS a:n"), Reply::Int(1));
        if !EngineKind::with_scripting_engines().contains(&kind) {
            continue;
        }
        for (header, reason) in [
            (r#"{"name":"zz"}"#, "BADSIG"),
            ("", "BADSIG"),
            (
                r#"{"name":"count","permissions":{"allow_write":true}}"#,
                "NOPERM",
            ),
            (r#"{"name":"count","isolation":"reuse"}"#, "NOPERM"),
        ] {
            let library = format!("#!wasm name=lib\n{header}\n{digest}");
            let reply = client.call(&["FUNCTION", "LOAD", &library]);
            let error = reply.error().unwrap_or_default();
            assert!(error.contains(reason), "{kind:?} {header}: {reply:?}");
        }
        let library = format!("#!wasm name=lib\n{{\"name\":\"count\"}}\n{digest}");
        let reply = client.call(&["FUNCTION", "LOAD", &library]);
        assert_eq!(reply.text(), Some("lib"), "{reply:?}");
        assert_eq!(client.run("FCALL count 1 a:n"), Reply::Int(2));
        assert_eq!(client.run("FCALL count 1 b:n"), Reply::Int(-16));
        // The bundle itself is a library as well.
        let mut library = b"#!wasm name=lib\n{\"name\":\"count\"}\n".to_vec();
        library.extend_from_slice(&bundle);
        let words: [&[u8]; 4] = [b"FUNCTION", b"LOAD", b"REPLACE", &library];
        assert_eq!(client.call(&words).text(), Some("lib"));
        assert_eq!(client.run("FCALL count 1 a:n"), Reply::Int(3));

        // With its key revoked, the data with the library can still be loaded, and it does not run.
        assert_eq!(client.run("SAVE"), Reply::Simple("OK".into()));
        drop(engine);
        let (ours, other) = (workshop.path("ci.pub"), workshop.path("other.pub"));
        let keys = [ours.to_str().expect("text"), other.to_str().expect("text")];
        let id = workshop.key_id("ci");
        let engine = kind
            .builder()
            .dir(&dir)
            .module(&["trusted-key", keys[0], "trusted-key", keys[1]])
            .module(&["require-signed", "yes", "revoked-key", &id])
            .start();
        let mut client = engine.client();
        for request in ["FCALL count 1 a:n", "WASM.CALL count KEYS a:n"] {
            let error = refused(&client.run(request), "BADSIG ");
            assert!(error.contains("revoked"), "{kind:?} {request}: {error}");
        }
        assert_eq!(client.run("GET a:n").text(), Some("3"));
    }
}

#[test]
fn what_arrives_from_another_server_is_checked_against_its_signed_manifest() {
    for kind in EngineKind::here() {
        let workshop = Workshop::new();
        let dir = workshop.path("engine");
        fs::create_dir_all(&dir).expect("made");
        let bundle = workshop.signed(&["--sequence", "4"]);
        let digest = import(&workshop, &dir, &bundle);
        let (manifest, signature) = signed_manifest(&bundle);
        let parsed: Value = serde_json::from_str(&manifest).expect("JSON");
        let release = json!({
            "version": parsed["version"], "sequence": 4, "key": workshop.key_id("ci"),
            "manifest": format!("blake3:{}", blake3::hash(manifest.as_bytes()).to_hex()),
            "created_unix": parsed["created_unix"],
            "signed": {"manifest": manifest, "signature": signature},
        });
        let record = json!({
            "name": "count", "digest": digest, "permissions": {"allow_write": true},
            "release": release,
        });
        let engine = signed_only(kind, &workshop, &dir);
        let mut client = engine.client();
        let mut arrive = |record: &Value| {
            let name = record["name"].as_str().expect("a name");
            let entry = json!({"name": name, "record": record}).to_string();
            let reply = client.call(&["WASM.REGISTER", &entry]);
            assert_eq!(reply, Reply::Simple("OK".into()), "{kind:?}: {record}");
            until(&mut client, &["WASM.CALL", name, "KEYS", "n"], |reply| {
                // Until the code has been looked for.
                !reply
                    .error()
                    .is_some_and(|error| error.starts_with("NOARTIFACT"))
            })
        };
        assert!(arrive(&record).int().is_some(), "{kind:?}");
        let foreign = workshop.bundle(&["--sequence", "4", "--sign", "other.key"]);
        let (manifest, signature) = signed_manifest(&foreign);
        let changes: [(&str, &[&str], Value); 11] = [
            ("another name", &["name"], json!("zz")),
            (
                "another source",
                &["digest"],
                json!(format!("blake3:{}", "0".repeat(64))),
            ),
            ("more limits", &["limits"], json!({"max_memory": "512MB"})),
            ("another isolation", &["isolation"], json!("reuse")),
            ("no release", &["release"], Value::Null),
            ("no manifest", &["release", "signed"], Value::Null),
            ("another sequence", &["release", "sequence"], json!(5)),
            ("another version", &["release", "version"], json!("9.9.9")),
            (
                "an expiry",
                &["release", "expires_unix"],
                json!(4_102_444_800_u64),
            ),
            (
                "another key",
                &["release", "key"],
                json!(workshop.key_id("other")),
            ),
            (
                "another signature",
                &["release", "signed"],
                json!({"manifest": manifest, "signature": signature}),
            ),
        ];
        for (what, path, value) in changes {
            let mut changed = record.clone();
            let place = path
                .iter()
                .fold(&mut changed, |value, field| &mut value[*field]);
            *place = value;
            let reply = arrive(&changed);
            let error = reply.error().unwrap_or_default();
            let refused = error.starts_with("BADSIG ") || error.starts_with("NOPERM that is more");
            assert!(refused, "{kind:?} {what}: {reply:?}");
        }
        // Wider permissions than it was signed for.
        let narrow = workshop.signed(&["--sequence", "8", "--permissions", "read-only"]);
        let (manifest, signature) = signed_manifest(&narrow);
        let mut changed = record.clone();
        changed["release"]["sequence"] = json!(8);
        changed["release"]["manifest"] = json!(format!(
            "blake3:{}",
            blake3::hash(manifest.as_bytes()).to_hex()
        ));
        let parsed: Value = serde_json::from_str(&manifest).expect("JSON");
        changed["release"]["created_unix"] = parsed["created_unix"].clone();
        changed["release"]["signed"] = json!({"manifest": manifest, "signature": signature});
        refused(&arrive(&changed), "NOPERM that is more");
        changed["permissions"] = json!({});
        let reply = arrive(&changed);
        assert!(
            !reply
                .error()
                .is_some_and(|error| error.starts_with("BADSIG")),
            "{reply:?}"
        );
    }
}
