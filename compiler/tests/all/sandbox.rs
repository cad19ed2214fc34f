//! The sandbox, seen from inside: a probe enters it and tries to get out.

use std::path::PathBuf;
use std::process::Command;

/// The probe, which cargo builds next to the tests.
pub(crate) fn probe() -> PathBuf {
    let tests = std::env::current_exe().expect("a test knows its own path");
    let target = tests
        .parent()
        .and_then(|deps| deps.parent())
        .expect("tests stand in target/<profile>/deps");
    target.join("examples/sandbox_probe")
}

#[test]
fn nothing_but_memory_threads_and_pipes_is_left() {
    let output = Command::new(probe())
        .output()
        .expect("the probe is built with the tests");
    let text = String::from_utf8(output.stdout).expect("the probe writes text");
    let lines: Vec<&str> = text.lines().collect();
    let found = |what: &str| {
        let prefix = format!("{what}: ");
        lines
            .iter()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap_or_else(|| panic!("the probe says nothing of {what:?}:\n{text}"))
    };
    for refused in [
        "read a file",
        "create a file",
        "list a folder",
        "reopen a descriptor",
        "connect by tcp",
        "listen by tcp",
        "send by udp",
        "make a socket pair",
        "start a program",
        "trace its parent",
        "be traced",
        "signal its parent",
        "make memory executable",
    ] {
        let said = found(refused);
        assert!(
            said.contains("EPERM") || said.contains("not permitted"),
            "{refused}: {said}"
        );
    }
    assert!(found("take a gigabyte").contains("memory"), "{text}");
    for allowed in ["write where it may", "start a thread"] {
        assert_eq!(found(allowed), "allowed");
    }
    assert!(output.status.success(), "{:?}", output.status);
}
