//! Faults of the disk, during a whole life of a server: start, writes, functions, stop.

use std::path::Path;

use ferrite_tests::{Server, command};
use rustix::process::Signal;

use super::life::Model;
use super::{Errno, Fault, Kind, injector, points, read_report, total, wrapper};

/// One life of a server in `dir` with a fault; then a look at what is there. Returns the report.
fn life(injector: &Path, fault: Fault, point: u64, durability: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    // The server's own files; the test's are beside them.
    let work = dir.path().join("server");
    std::fs::create_dir(&work).expect("created");
    let work = work.canonicalize().expect("it is there");
    let report = dir.path().join("report");
    let arguments = [
        "--store-durability",
        durability,
        "--store-min-free-space",
        "0B",
        "--shutdown-timeout",
        "300ms",
    ];
    let words = wrapper(injector, &work, Kind::Disk, fault, point, &report);
    let started = Server::builder()
        .dir(&work)
        .log(&dir.path().join("log"))
        .arguments(&arguments)
        .wrapper(words)
        .try_start();
    let mut model = Model::default();
    let mut whole = false;
    let log = match started {
        Ok(mut server) => {
            model.live(&server);
            if fault == Fault::Count {
                model.check(&server, true, true);
            }
            server.try_signal(Signal::TERM);
            let status = server
                .wait_briefly()
                .unwrap_or_else(|| panic!("the server does not end: {}", server.log()));
            whole = status.success();
            server.log()
        }
        // A start that fails says why.
        Err(log) => {
            assert!(
                fault == Fault::Kill || log.contains("ferrite-server: "),
                "no reason: {log}"
            );
            log
        }
    };
    let report = read_report(&report);
    let context = format!("{fault:?} at {point}: {report}{log}");
    assert!(!log.contains("panicked"), "{context}");
    let after = Server::builder()
        .dir(&work)
        .log(&dir.path().join("log"))
        .arguments(&arguments)
        .try_start()
        .unwrap_or_else(|log| panic!("it does not start again: {context}\n{log}"));
    println!("{context}");
    let cached = !log.contains("the cache cannot be used") && !log.contains("kept in memory");
    model.check(&after, durability == "always" || whole, cached);
    assert!(after.stop().success(), "{context}");
    let verified = command("ferrite-wasmc", "FERRITE_WASMC_BIN")
        .args(["cache", "verify", "--cache"])
        .arg(work.join("cache/wasm"))
        .output()
        .expect("it runs");
    assert!(verified.status.success(), "{context}{verified:?}");
    report
}

/// A life for each chosen call, with the fault at that call.
fn each(fault: Fault, durability: &str) {
    let Some(injector) = injector() else { return };
    let counted = total(&life(&injector, Fault::Count, 0, durability));
    assert!(counted > 50, "{counted} calls");
    for point in points(counted, fault) {
        life(&injector, fault, point, durability);
    }
}

#[test]
fn an_input_output_error() {
    each(Fault::Fail(Errno::Io), "always");
}

#[test]
fn a_full_disk() {
    each(Fault::FailFrom(Errno::NoSpace), "always");
}

#[test]
fn a_full_disk_for_a_moment() {
    each(Fault::Fail(Errno::NoSpace), "always");
}

#[test]
fn no_descriptors() {
    each(Fault::FailFrom(Errno::TooManyFiles), "always");
}

#[test]
fn no_memory() {
    each(Fault::Fail(Errno::OutOfMemory), "always");
}

#[test]
fn an_interrupted_call() {
    each(Fault::Fail(Errno::Interrupted), "always");
}

#[test]
fn a_short_read_or_write() {
    each(Fault::Short, "always");
}

#[test]
fn a_torn_write() {
    each(Fault::Torn, "always");
}

#[test]
fn a_kill() {
    each(Fault::Kill, "always");
}

#[test]
fn a_kill_with_everysec() {
    each(Fault::Kill, "everysec");
}

#[test]
fn an_error_with_everysec() {
    each(Fault::Fail(Errno::Io), "everysec");
}

#[test]
fn a_delay() {
    each(Fault::Delay, "always");
}
