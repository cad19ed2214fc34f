//! `doctor`: its findings depend on the machine, but compiling has to work on every one.

use std::process::Command;

use crate::transcript;

#[test]
fn what_compiling_depends_on_is_found() {
    let sandbox = transcript::sandbox();
    let output = Command::new(env!("CARGO_BIN_EXE_ferrite-wasmc"))
        .args(["--json", "doctor"])
        .current_dir(sandbox.path())
        .env_clear()
        .env("PATH", sandbox.path())
        .output()
        .expect("the program starts");
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("the report is JSON");
    let finding = |name: &str| {
        let checks = report["checks"].as_array().expect("there are checks");
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("no check of {name}"))["finding"].clone()
    };
    for name in ["cache", "cpu", "compiler", "worker"] {
        assert_eq!(finding(name), "ok", "{name}: {report:#}");
    }
    // With an empty path, no compiler for guests is found, and that is no failure.
    for name in ["rust", "c", "go", "assemblyscript"] {
        assert_eq!(finding(name), "missing", "{name}");
    }
    assert!(output.status.success());
}

/// `doctor` fails if the cache cannot be used.
#[test]
fn a_broken_cache_is_a_failure() {
    let sandbox = transcript::sandbox();
    let output = Command::new(env!("CARGO_BIN_EXE_ferrite-wasmc"))
        .args(["doctor", "--cache", "add1.wat"])
        .current_dir(sandbox.path())
        .env_clear()
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("failed   cache "), "{text}");
}
