//! Every system call of the server on disk and network fails, tears, waits or is the last, in turn.
//!
//! `tests/faults/inject.c` does that to the real program: it counts the calls on the data folder, or
//! on sockets, and changes the n-th. Each test runs a scenario without faults to count the calls, and
//! then once for each of some of them, evenly spread. `FERRITE_FAULT_POINTS` sets how many;
//! `all` takes every one. What must hold afterwards is in the scenario.

mod disk;
mod events;
mod life;
mod network;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrite_tests::target_dir;

/// The program's source.
const SOURCE: &str = include_str!("../../../faults/inject.c");

/// Calls that are changed in each test of a plain run.
const POINTS: u64 = 6;

/// A change of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing; the calls are counted.
    Count,
    /// It fails with this error.
    Fail(Errno),
    /// It fails with this error, and so do all later ones.
    FailFrom(Errno),
    /// It moves half of its bytes, and says so.
    Short,
    /// It moves half of its bytes, and fails.
    Torn,
    /// It moves half of its bytes, and the process is killed.
    Kill,
    /// It takes a fifth of a second longer.
    Delay,
}

/// An error of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errno {
    Interrupted = 4,
    Io = 5,
    OutOfMemory = 12,
    TooManyFiles = 24,
    NoSpace = 28,
    BrokenPipe = 32,
    ConnectionAborted = 103,
    ConnectionReset = 104,
}

/// The calls that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Disk,
    Net,
}

/// The program that changes calls; `None` if it cannot be built or run here.
fn injector() -> Option<PathBuf> {
    let name = format!("inject-{}", &blake3::hash(SOURCE.as_bytes()).to_hex()[..16]);
    let program = target_dir().join(name);
    if !program.is_file() {
        let folder = tempfile::tempdir_in(target_dir()).expect("a temporary folder");
        let source = folder.path().join("inject.c");
        let built = folder.path().join("inject");
        fs::write(&source, SOURCE).expect("written");
        let compiled = Command::new("cc")
            .args(["-O1", "-o"])
            .args([&built, &source])
            .status();
        if !compiled.is_ok_and(|status| status.success()) {
            println!("skipped: there is no C compiler `cc`, or it cannot build inject.c");
            return None;
        }
        // Another test may have built it meanwhile; both are the same.
        fs::rename(&built, &program).expect("renamed");
    }
    let report = tempfile::NamedTempFile::new().expect("a temporary file");
    let tried = Command::new(&program)
        .args(["/nowhere", "disk", "count", "0", "0", "0"])
        .arg(report.path())
        .args(["--", "true"])
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("skipped: this system does not tell system calls (seccomp, Linux 5.6)");
        return None;
    }
    Some(program)
}

/// The words that start a program with the `point`-th call changed; its command line follows them.
fn wrapper(
    injector: &Path,
    directory: &Path,
    kind: Kind,
    fault: Fault,
    point: u64,
    report: &Path,
) -> Vec<OsString> {
    let (mode, times, errno) = match fault {
        Fault::Count => ("count", 0, 0),
        Fault::Fail(errno) => ("fail", 1, errno as i32),
        Fault::FailFrom(errno) => ("fail", 0, errno as i32),
        Fault::Short => ("short", 1, 0),
        Fault::Torn => ("torn", 1, Errno::Io as i32),
        Fault::Kill => ("kill", 1, 0),
        Fault::Delay => ("delay", 1, 0),
    };
    let kind = match kind {
        Kind::Disk => "disk",
        Kind::Net => "net",
    };
    [
        injector.into(),
        directory.into(),
        kind.into(),
        mode.into(),
        point.to_string().into(),
        times.to_string().into(),
        errno.to_string().into(),
        report.into(),
        "--".into(),
    ]
    .into()
}

/// Waits for the end of a report, which comes just after the end of the program.
fn read_report(path: &Path) -> String {
    for _ in 0..1_000_000 {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.contains("total ") {
            return text;
        }
        std::thread::yield_now();
    }
    panic!("the report {} has no end", path.display());
}

/// The number of calls that a report counted.
fn total(report: &str) -> u64 {
    let number = report.lines().find_map(|line| line.strip_prefix("total "));
    number.expect("a total").parse().expect("a number")
}

/// Calls to change, of `total`.
fn points(total: u64, fault: Fault) -> Vec<u64> {
    let count = match std::env::var("FERRITE_FAULT_POINTS") {
        Ok(text) if text == "all" => total,
        Ok(text) => text
            .parse()
            .expect("FERRITE_FAULT_POINTS is a number or all"),
        Err(_) => POINTS,
    }
    .clamp(1, total.max(1));
    // Faults of different kinds meet different calls.
    let shift = blake3::hash(format!("{fault:?}").as_bytes()).as_bytes()[0];
    (0..count)
        .map(|index| 1 + (index * total + u64::from(shift) * total / 256) / count)
        .filter(|point| *point <= total)
        .collect()
}
