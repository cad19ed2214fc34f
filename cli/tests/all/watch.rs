//! `--watch` calls and builds again after every change.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::transcript;

/// A command that watches; the process is killed when this is dropped.
struct Watching {
    child: Child,
    lines: BufReader<Box<dyn std::io::Read>>,
}

impl Watching {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().expect("there is room for a pipe");
        let program = Path::new(env!("CARGO_BIN_EXE_ferrite-wasmc"));
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("there is room for a pipe"))
            .stderr(writer)
            .spawn()
            .expect("the program starts");
        Self {
            child,
            lines: BufReader::new(Box::new(reader)),
        }
    }

    /// Returns the lines up to the one that announces watching again.
    fn until_watching(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("it prints text");
            assert!(read > 0, "it ended: {lines:?}");
            if line.starts_with("watching ") {
                return lines;
            }
            lines.push(line.trim_end().to_owned());
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It ends by itself only if it fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_module_that_changes_is_called_again_and_a_broken_one_is_waited_for() {
    let sandbox = transcript::sandbox();
    let module = sandbox.path().join("one.wat");
    let text = |number: &str| {
        format!("(module (func (export \"run\") (result i32) (i32.const {number})))")
    };
    std::fs::write(&module, text("1")).expect("there is room");
    let mut watching = Watching::start(sandbox.path(), &["run", "one.wat", "--watch"]);
    assert_eq!(
        watching.until_watching().last().expect("a reply"),
        "(integer) 1"
    );

    std::fs::write(&module, text("22")).expect("there is room");
    assert_eq!(
        watching.until_watching().last().expect("a reply"),
        "(integer) 22"
    );

    std::fs::write(&module, "(module").expect("there is room");
    let lines = watching.until_watching();
    let error = lines.last().expect("an error");
    assert!(error.starts_with("error: one.wat: INVALID: "), "{lines:?}");

    std::fs::write(&module, text("333")).expect("there is room");
    assert_eq!(
        watching.until_watching().last().expect("a reply"),
        "(integer) 333"
    );
}

/// A fake compiler, so that the test needs no real one: it copies the source.
#[test]
fn a_project_whose_source_changes_is_built_again() {
    let sandbox = transcript::sandbox();
    let tools = sandbox.path().join("tools");
    std::fs::create_dir(&tools).expect("there is room");
    let zig = tools.join("zig");
    // `zig version`, or `zig cc … -o OUT SOURCE`.
    let script = "#!/bin/sh\nif [ \"$1\" = version ]; then echo 0.17.1; exit; fi\nwhile [ $# -gt 1 ]; do case $1 in -o) out=$2;; esac; shift; done\ncp \"$1\" \"$out\"\n";
    std::fs::write(&zig, script).expect("there is room");
    std::fs::set_permissions(&zig, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("it is ours");
    let project = sandbox.path().join("limits");
    std::fs::create_dir(&project).expect("there is room");
    let source = project.join("limits.c");
    std::fs::write(&source, "(module (func (export \"run\")))").expect("there is room");
    let path = format!("PATH={}:/usr/bin:/bin", tools.display());
    let program = env!("CARGO_BIN_EXE_ferrite-wasmc");
    let command = format!("exec env {path} {program} build limits --watch 2>&1");
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).current_dir(sandbox.path());
    let mut child = shell
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let out = child.stdout.take().expect("it is a pipe");
    let mut watching = Watching {
        child,
        lines: BufReader::new(Box::new(out)),
    };
    let lines = watching.until_watching();
    assert_eq!(lines[0], "building limits (c)");
    assert!(
        lines.iter().any(|line| line == "limits/build/limits.wasm"),
        "{lines:?}"
    );

    std::fs::write(&source, "broken").expect("there is room");
    let lines = watching.until_watching();
    assert!(
        lines.iter().any(|line| line.contains("INVALID")),
        "{lines:?}"
    );

    std::fs::write(&source, "(module (func (export \"ran\")))").expect("there is room");
    let lines = watching.until_watching();
    assert!(
        lines.iter().any(|line| line.starts_with("  compiled")),
        "{lines:?}"
    );
}
