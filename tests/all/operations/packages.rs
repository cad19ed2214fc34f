//! The packages: installed, started, upgraded, removed and purged; and the archive with its installer.
//!
//! `FERRITE_PACKAGES_DIR` is the folder that `cargo xtask package` fills.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the packages, if they were built.
fn packages() -> Option<PathBuf> {
    let folder = env::var_os("FERRITE_PACKAGES_DIR").map(PathBuf::from);
    let found = folder.filter(|folder| folder.join("install.sh").is_file());
    if found.is_none() {
        eprintln!("skipped: FERRITE_PACKAGES_DIR names no folder with packages");
    }
    found
}

fn text(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The file of a folder whose name has this start and end.
fn file(folder: &Path, start: &str, end: &str) -> PathBuf {
    let entries = folder.read_dir().expect("it can be listed");
    entries
        .map(|entry| entry.expect("it can be listed").path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(start) && name.ends_with(end)
        })
        .unwrap_or_else(|| panic!("no {start}…{end} in {}", folder.display()))
}

#[test]
fn packages_for_debian_go_through_their_life() {
    let Some(folder) = packages() else {
        return;
    };
    let can = Command::new("unshare")
        .args(["--mount", "sh", "-c", "dpkg --version && [ $(id -u) = 0 ]"])
        .output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this needs root, dpkg, and a mount namespace");
        return;
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("unshare")
        .args(["--mount", "bash"])
        .arg(home.join("packages/lifecycle.sh"))
        .arg(&folder)
        .arg(home.join("../packaging/container/healthy"))
        .output()
        .expect("it can be started");
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("== all of it works"), "{text}");
}

/// Runs the installer and returns what it printed, and if it succeeded.
fn install(folder: &Path, prefix: &Path, arguments: &[&str]) -> (String, bool) {
    let output = Command::new("sh")
        .arg(folder.join("install.sh"))
        .arg("--prefix")
        .arg(prefix)
        .args(arguments)
        .env(
            "FERRITE_RELEASES",
            format!("file://{}", folder.join("mirror").display()),
        )
        .output()
        .expect("it can be started");
    (text(&output), output.status.success())
}

#[test]
fn the_archive_is_installed_if_it_is_whole() {
    let Some(folder) = packages() else {
        return;
    };
    let archive = file(&folder, "ferrite-", "-linux.tar.gz");
    let name = archive.file_name().expect("a file has a name").to_owned();
    let name = name.to_string_lossy();
    let version = name.split('-').nth(1).expect("the name has a version");

    // A mirror as the releases are laid out.
    let sandbox = tempfile::tempdir().expect("there is room for a folder");
    let sandbox = sandbox.path();
    let download = sandbox.join(format!("mirror/download/v{version}"));
    fs::create_dir_all(&download).expect("it can be made");
    for file in [name.to_string(), format!("{name}.sha256")] {
        fs::copy(folder.join(&file), download.join(&file)).expect("it can be copied");
    }
    fs::copy(folder.join("install.sh"), sandbox.join("install.sh")).expect("it can be copied");

    let prefix = sandbox.join("prefix");
    let (said, done) = install(sandbox, &prefix, &["--version", version]);
    assert!(done, "{said}");
    let shown = format!(
        "installed into {}: ferrite-wasmc {version} (",
        prefix.display()
    );
    assert!(said.contains(&shown), "{said}");
    for file in [
        "bin/ferrite-server",
        "lib/ferrite/libferrite_valkey.so",
        "share/man/man1/ferrite-wasmc.1.gz",
        "share/man/man8/ferrite-server.8.gz",
        "share/bash-completion/completions/ferrite-wasmc",
        "share/doc/ferrite/README.md",
    ] {
        assert!(prefix.join(file).is_file(), "{file}");
    }
    // Again, over what is there, and from a file.
    let copy = download.join(&*name);
    let copy = copy.to_str().expect("the path is text");
    let (said, done) = install(sandbox, &prefix, &[copy]);
    assert!(done, "{said}");

    // One byte is another.
    let mut bytes = fs::read(copy).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(copy, bytes).expect("it can be written");
    let other = sandbox.join("other");
    for arguments in [&[copy][..], &["--version", version]] {
        let (said, done) = install(sandbox, &other, arguments);
        assert!(
            !done && said.contains("is damaged or was changed"),
            "{said}"
        );
        assert!(!other.exists(), "something was installed");
    }
}

/// An artifact of OCI's layout names its parts by their digests.
#[test]
fn interfaces_are_packed_as_an_artifact_for_registries() {
    let Some(folder) = packages() else {
        return;
    };
    let layout = tempfile::tempdir().expect("there is room for a folder");
    let status = Command::new("tar")
        .args(["--extract", "--directory"])
        .arg(layout.path())
        .arg("--file")
        .arg(folder.join("ferrite-function.oci.tar"))
        .status()
        .expect("tar runs");
    assert!(status.success());
    let json = |path: &Path| -> serde_json::Value {
        let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).expect("JSON")
    };
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().expect("a digest");
        let digest = digest.strip_prefix("sha256:").expect("of this kind");
        let path = layout.path().join("blobs/sha256").join(digest);
        let sum = Command::new("sha256sum")
            .arg(&path)
            .output()
            .expect("it runs");
        assert!(text(&sum).starts_with(digest), "{}", text(&sum));
        let size = fs::metadata(&path).expect("it is there").len();
        assert_eq!(descriptor["size"], size);
        path
    };
    let version = json(&layout.path().join("oci-layout"));
    assert_eq!(version["imageLayoutVersion"], "1.0.0");
    let index = json(&layout.path().join("index.json"));
    let manifest = json(&blob(&index["manifests"][0]));
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.wasm.config.v0+json"
    );
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], "application/wasm");
    let config = json(&blob(&manifest["config"]));
    assert_eq!(config["layerDigests"][0], layer["digest"]);
    assert_eq!(config["os"], "wasip2");
    let exports = config["component"]["exports"].as_array().expect("a list");
    for interface in ["types", "data", "host", "network"] {
        let name = format!("ferrite:function/{interface}@0.1.0");
        assert!(exports.iter().any(|export| *export == *name), "{exports:?}");
    }
    // The header of a component.
    let wasm = fs::read(blob(layer)).expect("it is there");
    assert_eq!(wasm[..8], *b"\0asm\x0d\0\x01\0");
}
