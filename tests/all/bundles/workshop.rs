//! The folder in which these tests make bundles, with keys and the real command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use ferrite_tests::{Reply, Server, ServerBuilder, command};
use tempfile::TempDir;

use crate::support::guests::COUNT;

/// A folder with keys, modules and bundles, and a server's folder beside it.
pub(crate) struct Workshop {
    folder: TempDir,
}

impl Workshop {
    /// Creates a workshop with the keys `ci` and `other`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let workshop = Self { folder };
        fs::create_dir_all(workshop.modules()).expect("made");
        fs::write(workshop.path("count.wat"), COUNT).expect("written");
        for name in ["ci", "other"] {
            workshop.wasmc(&["keygen", "-o", name]);
        }
        workshop
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder that the server works in.
    pub(crate) fn server_dir(&self) -> PathBuf {
        self.path("server")
    }

    /// The folder from which the server loads files.
    pub(crate) fn modules(&self) -> PathBuf {
        self.server_dir().join("wasm")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.server_dir().join("cache/wasm")
    }

    /// Runs the command line in the folder; it may fail.
    pub(crate) fn try_wasmc(&self, arguments: &[&str]) -> Output {
        command("ferrite-wasmc", "FERRITE_WASMC_BIN")
            .args(arguments)
            .env("FERRITE_KEY_PASSWORD", "")
            .current_dir(self.folder.path())
            .output()
            .expect("the command line can be run")
    }

    /// Runs the command line, which must succeed; returns its output.
    pub(crate) fn wasmc(&self, arguments: &[&str]) -> String {
        let output = self.try_wasmc(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("it prints text")
    }

    /// Makes a bundle of the counting function, which may write every key, and reads it.
    pub(crate) fn bundle(&self, more: &[&str]) -> Vec<u8> {
        self.make("count", "1.2.3", more)
    }

    /// Makes a bundle of that function under another name and version.
    pub(crate) fn make(&self, name: &str, version: &str, more: &[&str]) -> Vec<u8> {
        let mut arguments = vec!["bundle", "count.wat", "-o", "made.tar"];
        arguments.extend(["--name", name, "--version", version]);
        if !more.contains(&"--permissions") {
            arguments.extend(["--permissions", "read-write"]);
        }
        if !more.contains(&"--target") {
            arguments.extend([
                "--target",
                "x86_64-unknown-linux-gnu",
                "--target",
                "aarch64",
            ]);
        }
        arguments.extend(more);
        self.wasmc(&arguments);
        fs::read(self.path("made.tar")).expect("it was made")
    }

    /// Makes a bundle of that function, signed by `ci`.
    pub(crate) fn signed(&self, more: &[&str]) -> Vec<u8> {
        self.bundle(&[more, &["--sign", "ci.key"]].concat())
    }

    /// The id of a key.
    pub(crate) fn key_id(&self, name: &str) -> String {
        let bundle = self.bundle(&["--target", "none", "--sign", &format!("{name}.key")]);
        fs::write(self.path("id.tar"), bundle).expect("written");
        let told = self.wasmc(&["verify", "id.tar", "--key", &format!("{name}.pub")]);
        let at = told.find("key ").expect("the key is told") + "key ".len();
        told[at..at + 16].to_owned()
    }

    /// A server that trusts `ci`.
    pub(crate) fn server(&self) -> ServerBuilder {
        let key = self.path("ci.pub");
        let key = key.to_str().expect("text");
        Server::builder()
            .dir(&self.server_dir())
            .arguments(&["--wasm-security-trusted-keys", key])
    }

    /// A server that trusts `ci` but has no compiler: all its code comes from bundles.
    pub(crate) fn lean_server(&self) -> ServerBuilder {
        self.server().without_compiler()
    }
}

/// The manifest of a signed bundle and its signature, the first two members of the archive.
pub(crate) fn signed_manifest(bundle: &[u8]) -> (String, String) {
    let member = |at: usize| {
        let size = std::str::from_utf8(&bundle[at + 124..at + 135]).expect("digits");
        let size = usize::from_str_radix(size, 8).expect("an octal number");
        let start = at + 512;
        let text = String::from_utf8(bundle[start..start + size].to_vec()).expect("text");
        (text, start + size.next_multiple_of(512))
    };
    let (manifest, next) = member(0);
    (manifest, member(next).0)
}

/// The text of an error, which must begin with `code`.
pub(crate) fn refused(reply: &Reply, code: &str) -> String {
    let error = reply
        .error()
        .unwrap_or_else(|| panic!("not refused: {reply:?}"));
    assert!(error.starts_with(code), "{error}");
    error.to_owned()
}

/// The digest that a load replies with.
pub(crate) fn loaded(reply: &Reply) -> String {
    let digest = reply
        .text()
        .unwrap_or_else(|| panic!("not loaded: {reply:?}"));
    assert!(digest.starts_with("blake3:"), "{digest}");
    digest.to_owned()
}

/// Files of native code in a cache.
pub(crate) fn artifacts(cache: &Path) -> usize {
    files(cache, "cwasm")
}

/// Files in a cache whose names end like this.
pub(crate) fn files(cache: &Path, extension: &str) -> usize {
    let folders = fs::read_dir(cache.join("v1"))
        .into_iter()
        .flatten()
        .flatten();
    folders
        .filter_map(|folder| fs::read_dir(folder.path()).ok())
        .flatten()
        .flatten()
        .filter(|file| {
            file.path()
                .extension()
                .is_some_and(|ending| ending == extension)
        })
        .count()
}
