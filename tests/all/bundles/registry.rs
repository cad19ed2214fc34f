//! A real OCI registry on this machine: bundles are pushed and pulled, and it is not trusted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ferrite_tests::{Reply, command, debian_program};

use super::workshop::{Workshop, loaded};
use crate::support::running::Running;

/// A running registry; the process is killed when this is dropped.
struct Registry {
    address: String,
    storage: PathBuf,
    _running: Running,
}

impl Registry {
    /// Starts a registry in this folder, if the program is available.
    #[expect(
        clippy::print_stderr,
        reason = "a test that is skipped says so where its output is looked for"
    )]
    fn start(folder: &Path) -> Option<Self> {
        let Some(program) = debian_program("docker-registry", "FERRITE_DOCKER_REGISTRY") else {
            eprintln!(
                "skipped: there is no registry here (on Debian: apt-get install docker-registry)"
            );
            return None;
        };
        let storage = folder.join("registry");
        let config = folder.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n",
            storage.display()
        );
        fs::write(&config, text).expect("written");
        let (running, rest) = Running::start(
            Command::new(program.path)
                .arg("serve")
                .arg(&config)
                .env_clear(),
            "listening on ",
        );
        let end = rest.find(['"', ' ', ',']).unwrap_or(rest.len());
        Some(Self {
            address: rest[..end].to_owned(),
            _running: running,
            storage,
        })
    }
}

/// Collects every blob that a registry has stored.
fn blobs(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            blobs(&path, found);
        } else if path.ends_with("data") {
            found.push(path);
        }
    }
}

#[test]
fn a_bundle_goes_into_a_registry_and_comes_out_the_same() {
    let workshop = Workshop::new();
    let Some(registry) = Registry::start(&workshop.path("")) else {
        return;
    };
    let place = format!("{}/team/count:1.2.3", registry.address);
    let bundle = workshop.signed(&["--sequence", "4"]);
    fs::write(workshop.path("b.tar"), &bundle).expect("written");
    let pushed = workshop.wasmc(&["--json", "push", "b.tar", &place]);
    let at = pushed.find("sha256:").expect("the digest is told");
    let digest = &pushed[at..at + "sha256:".len() + 64];

    // By its tag, under its own name, and by its digest.
    let told = workshop.wasmc(&["pull", &place, "--key", "ci.pub"]);
    assert!(
        told.contains("count-1.2.3.cwasm.tar is count 1.2.3, sequence 4"),
        "{told}"
    );
    let pulled = fs::read(workshop.path("count-1.2.3.cwasm.tar")).expect("it was written");
    assert!(pulled == bundle, "it is another one");
    let exact = format!("{}/team/count@{digest}", registry.address);
    workshop.wasmc(&[
        "pull",
        &exact,
        "--key",
        "ci.pub",
        "-o",
        "server/wasm/c.cwasm.tar",
    ]);
    let server = workshop.lean_server().start();
    let mut client = server.client();
    loaded(&client.run("WASM.LOAD count c.cwasm.tar"));
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
}

#[test]
fn what_a_registry_says_is_not_believed() {
    let workshop = Workshop::new();
    let Some(registry) = Registry::start(&workshop.path("")) else {
        return;
    };
    let place = format!("{}/team/count:1", registry.address);
    let unsigned = workshop.bundle(&[]);
    fs::write(workshop.path("unsigned.tar"), unsigned).expect("written");
    let foreign = workshop.bundle(&["--sign", "other.key"]);
    fs::write(workshop.path("foreign.tar"), foreign).expect("written");
    fs::write(workshop.path("b.tar"), workshop.signed(&[])).expect("written");
    let refused = |arguments: &[&str], code: i32, reason: &str| {
        let output = workshop.try_wasmc(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(reason), "{said}");
        assert!(!workshop.path("out.tar").exists(), "nothing is written");
    };
    let pull = ["pull", &place, "--key", "ci.pub", "-o", "out.tar"];
    refused(&["push", "unsigned.tar", &place], 2, "is not signed");
    refused(&pull, 4, "is not there");
    workshop.wasmc(&["push", "foreign.tar", &place]);
    refused(&pull, 3, "which is not trusted");
    workshop.wasmc(&["push", "b.tar", &place]);
    workshop.wasmc(&["pull", &place, "--key", "ci.pub", "-o", "good.tar"]);

    // Changes a byte of the bundle in the registry's storage.
    let mut stored = Vec::new();
    blobs(&registry.storage, &mut stored);
    let expected = fs::read(workshop.path("b.tar")).expect("it is there");
    let blob = stored
        .into_iter()
        .find(|path| fs::read(path).is_ok_and(|bytes| bytes == expected))
        .expect("the layer is stored as it is");
    let mut changed = expected;
    changed[2000] ^= 1;
    fs::write(blob, changed).expect("written");
    refused(&pull, 1, "cannot pull");
    refused(
        &[
            "pull",
            "127.0.0.1:1/team/count:1",
            "--key",
            "ci.pub",
            "-o",
            "out.tar",
        ],
        1,
        "cannot pull",
    );
    refused(
        &["push", "b.tar", "localhost/Not A Name"],
        1,
        "not the name of an artifact",
    );
    // A tag and a name that are not there are no failure of the registry.
    for missing in ["team/count:2", "team/other:1"] {
        let place = format!("{}/{missing}", registry.address);
        refused(&["pull", &place, "--key", "ci.pub"], 4, "is not there");
    }
    // No other registry is used in its place.
    refused(&["push", "b.tar", "team/count:1"], 1, "names no registry");
}

#[test]
fn no_argument_takes_a_password() {
    let run = |arguments: &[&str]| {
        let output = command("ferrite-wasmc", "FERRITE_WASMC_BIN")
            .args(arguments)
            .stdin(Stdio::null())
            .output();
        output.expect("it can be run")
    };
    for name in ["push", "pull", "keygen", "bundle", "sign", "verify"] {
        let help = run(&[name, "--help"]);
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.status.success() && text.contains("Usage:"), "{text}");
        let option = text
            .split_whitespace()
            .find(|word| word.starts_with('-') && word.contains("password"));
        assert_eq!(option, None, "{name}: {text}");
        let refused = run(&[name, "a", "b", "--password", "secret"]);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{name}: {text}");
        assert!(text.contains("unexpected argument"), "{name}: {text}");
    }
    // Nor does a registry's name.
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let bundle = folder.path().join("bundle");
    fs::write(&bundle, "none").expect("written");
    let bundle = bundle.to_str().expect("text");
    for place in [
        "user:secret@127.0.0.1:1/name:1",
        "https://user:secret@127.0.0.1:1/name:1",
    ] {
        let refused = run(&["push", bundle, place]);
        assert!(!refused.status.success(), "{refused:?}");
    }
}
