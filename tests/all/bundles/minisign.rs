//! The real `minisign` accepts our keys and signatures, and we accept its.

use std::fs;
use std::process::{Command, Stdio};

use ferrite_tests::{Reply, debian_program};

use super::workshop::{Workshop, loaded};

/// Runs minisign in the workshop; answers its prompts with an empty password.
#[expect(
    clippy::print_stderr,
    reason = "a test that is skipped says so where its output is looked for"
)]
fn minisign(workshop: &Workshop, arguments: &[&str]) -> Option<bool> {
    let Some(program) = debian_program("minisign", "FERRITE_MINISIGN") else {
        eprintln!("skipped: there is no minisign here (on Debian: apt-get install minisign)");
        return None;
    };
    let mut command = Command::new(program.path);
    if let Some(libraries) = program.libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    let status = command
        .args(arguments)
        .current_dir(workshop.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("minisign can be run");
    Some(status.success())
}

/// The manifest and the signature of a bundle, as files for minisign.
fn unpack(workshop: &Workshop, bundle: &[u8]) {
    fs::write(workshop.path("b.tar"), bundle).expect("written");
    let status = Command::new("tar")
        .args(["xf", "b.tar", "manifest.json", "manifest.json.minisig"])
        .current_dir(workshop.path(""))
        .status()
        .expect("tar can be run");
    assert!(status.success());
}

#[test]
fn minisign_verifies_what_was_signed_here() {
    let workshop = Workshop::new();
    unpack(&workshop, &workshop.signed(&[]));
    let verify = ["-V", "-q", "-p", "ci.pub", "-m", "manifest.json"];
    let Some(verified) = minisign(&workshop, &verify) else {
        return;
    };
    assert!(verified);
    let mut manifest = fs::read(workshop.path("manifest.json")).expect("it was unpacked");
    manifest[10] ^= 1;
    fs::write(workshop.path("manifest.json"), manifest).expect("written");
    assert_eq!(minisign(&workshop, &verify), Some(false));
}

#[test]
fn a_key_of_minisign_signs_bundles() {
    let workshop = Workshop::new();
    let generate = ["-G", "-W", "-p", "theirs.pub", "-s", "theirs.key"];
    if minisign(&workshop, &generate).is_none() {
        return;
    }
    let bundle = workshop.bundle(&["--sign", "theirs.key"]);
    unpack(&workshop, &bundle);
    let verify = ["-V", "-q", "-p", "theirs.pub", "-m", "manifest.json"];
    assert_eq!(minisign(&workshop, &verify), Some(true));

    let key = workshop.path("theirs.pub");
    let trusted = ["--wasm-security-trusted-keys", key.to_str().expect("text")];
    let server = workshop.lean_server().arguments(&trusted).start();
    let mut client = server.client();
    loaded(&client.call(&[b"WASM.LOAD".as_slice(), b"count", &bundle]));
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
}

#[test]
fn a_signature_of_minisign_is_taken_into_a_bundle() {
    let workshop = Workshop::new();
    unpack(&workshop, &workshop.signed(&[]));
    // Signed by minisign itself, with our key; legacy signatures are not supported.
    let sign = ["-S", "-s", "ci.key", "-m", "manifest.json", "-t", "by hand"];
    let Some(signed) = minisign(&workshop, &sign) else {
        return;
    };
    assert!(signed);
    workshop.wasmc(&["sign", "b.tar", "--signature", "manifest.json.minisig"]);
    let told = workshop.wasmc(&["--json", "verify", "b.tar", "--key", "ci.pub"]);
    assert!(told.contains(r#""comment": "by hand""#), "{told}");
    let bundle = fs::read(workshop.path("b.tar")).expect("it is there");
    let server = workshop.lean_server().start();
    loaded(
        &server
            .client()
            .call(&[b"WASM.LOAD".as_slice(), b"count", &bundle]),
    );

    let legacy = ["-S", "-l", "-s", "ci.key", "-m", "manifest.json"];
    assert_eq!(minisign(&workshop, &legacy), Some(true));
    let output = workshop.try_wasmc(&["sign", "b.tar", "--signature", "manifest.json.minisig"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("legacy"), "{said}");
}
