//! Runs a file of commands and records their output.
//!
//! A line that starts with `$ ` is typed into a shell. Its output follows, standard output and
//! standard error together, and then `? N` if its exit code is not 0. Lines before the first
//! command describe the file. All commands of a file run in a folder of their own, which holds
//! copies of the fixtures.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use snapbox::Redactions;

/// Patterns for text that differs between runs or machines, with their placeholders.
const VARYING: &[(&str, &str)] = &[
    ("[DIGEST]", "(?<redacted>blake3:[0-9a-f]{64})"),
    ("[HEX]", r"\b(?<redacted>[0-9a-f]{64})\b"),
    ("[PUBLIC]", r"(?<redacted>RW[0-9A-Za-z+/]{54})"),
    ("[NOW]", r"it is (?<redacted>[0-9: -]+ UTC) now"),
    ("[KEY]", r"\b(?<redacted>[0-9A-F]{16})\b"),
    ("[PROFILE]", r"\b(?<redacted>[0-9a-f]{16})\b"),
    ("[TIME]", r"\b(?<redacted>[0-9]+(\.[0-9]+)? (ns|µs|ms|s))\b"),
    ("[SIZE]", r"\b(?<redacted>[0-9]+\.[0-9] [KM]iB)\b"),
    ("[DAY]", r"used (?<redacted>[0-9]{4}-[0-9]{2}-[0-9]{2})"),
    (
        "[NUMBER]",
        r#"((micros|nanos|fuel|artifact_bytes|last_used)": |fuel    )(?<redacted>[0-9]+)"#,
    ),
    (
        "[WASMTIME]",
        r"wasmtime (?<redacted>[0-9]+\.[0-9]+\.[0-9]+)",
    ),
];

/// The folder of the tests.
pub(crate) fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// A folder with copies of the fixtures.
pub(crate) fn sandbox() -> tempfile::TempDir {
    let sandbox = tempfile::tempdir().expect("there is room for a folder");
    for entry in fs::read_dir(tests().join("fixtures")).expect("the fixtures are there") {
        let path = entry.expect("the fixtures can be listed").path();
        let name = path.file_name().expect("a file has a name");
        fs::copy(&path, sandbox.path().join(name)).expect("a fixture can be copied");
    }
    sandbox
}

/// Runs the commands of a file again; the returned text should equal that of the file.
pub(crate) fn run(text: &str, folder: &Path) -> String {
    let redactions = redactions(folder);
    let mut transcript = String::new();
    let mut before_commands = true;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            before_commands = false;
            let _ = writeln!(transcript, "{line}");
            let (output, code) = type_in(command, folder);
            transcript.push_str(&redactions.redact(&output));
            if !transcript.ends_with('\n') {
                transcript.push('\n');
            }
            if code != 0 {
                let _ = writeln!(transcript, "? {code}");
            }
        } else if before_commands {
            let _ = writeln!(transcript, "{line}");
        }
    }
    transcript
}

/// Returns the output of a command, and its exit code.
fn type_in(command: &str, folder: &Path) -> (String, i32) {
    let program = Path::new(env!("CARGO_BIN_EXE_ferrite-wasmc"));
    let programs = program.parent().expect("a program stands in a folder");
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .output()
        .expect("there is a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text, output.status.code().expect("it was not killed"))
}

/// Returns the placeholders for everything that varies.
fn redactions(folder: &Path) -> Redactions {
    let mut redactions = Redactions::new();
    for (name, pattern) in VARYING {
        let regex = Regex::new(pattern).expect("the patterns are well-formed");
        redactions
            .insert(name, regex)
            .expect("the names are well-formed");
    }
    let folder = folder.canonicalize().expect("the folder is there");
    redactions
        .insert("[ROOT]", folder.display().to_string())
        .expect("the name is well-formed");
    redactions
}
