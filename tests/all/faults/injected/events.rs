//! Faults of the disk while events of keys are caused, delivered and given up.

use ferrite_tests::{Client, Server, encode};
use rustix::process::Signal;

use super::{Errno, Fault, Kind, injector, points, read_report, total, wrapper};
use crate::automation::delivery::{check_notes, note_appends};

/// Appends of a life.
const APPENDS: usize = 60;

/// Appends numbers to three lists, and returns how many were answered.
fn append(server: &Server) -> usize {
    let Ok(mut client) = Client::try_connect(server.address()) else {
        return 0;
    };
    let mut answered = 0;
    for number in 0..APPENDS {
        let words = [
            "RPUSH",
            &format!("list:{}", number % 3),
            &number.to_string(),
        ];
        let reply = match client.try_send(&encode(&words)) {
            Ok(()) => client.next(),
            Err(_) => None,
        };
        let Some(reply) = reply else {
            return answered;
        };
        answered += usize::from(reply.error().is_none());
    }
    answered
}

/// A life of a server with a fault of its disk, and then one without: each append is there with its event, or
/// neither is. Returns the report.
fn life(injector: &std::path::Path, fault: Fault, point: u64) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let work = dir.path().join("server");
    std::fs::create_dir(&work).expect("created");
    let work = work.canonicalize().expect("it is there");
    let report = dir.path().join("report");
    let arguments = [
        "--store-durability",
        "always",
        "--store-min-free-space",
        "0B",
        "--shutdown-timeout",
        "300ms",
    ];
    let builder = || Server::builder().dir(&work).arguments(&arguments);
    let before = builder().log(&dir.path().join("log")).start();
    note_appends(&mut before.client());
    assert!(before.stop().success());
    let words = wrapper(injector, &work, Kind::Disk, fault, point, &report);
    let log = dir.path().join("log of faults");
    let started = builder().log(&log).wrapper(words).try_start();
    let mut answered = 0;
    if let Ok(mut server) = started {
        answered = append(&server);
        if fault == Fault::Count {
            check_notes(&mut server.client());
        }
        server.try_signal(Signal::TERM);
        let ended = server.wait_briefly();
        assert!(ended.is_some(), "the server does not end: {}", server.log());
    }
    let report = read_report(&report);
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(!log.contains("panicked"), "{log}");
    let after = builder().log(&dir.path().join("log")).start();
    let counted = check_notes(&mut after.client());
    println!("{fault:?} at {point}: {answered} of {APPENDS} were answered, {counted:?}");
    assert!(
        counted.appends >= answered,
        "{answered} were answered: {counted:?} {report}{log}"
    );
    assert!(after.stop().success());
    report
}

fn each(fault: Fault) {
    let Some(injector) = injector() else { return };
    let counted = total(&life(&injector, Fault::Count, 0));
    assert!(counted > 50, "{counted} calls");
    // Each life has three servers, so half of the points are enough.
    for point in points(counted, fault).into_iter().step_by(2) {
        life(&injector, fault, point);
    }
}

#[test]
fn no_event_is_lost_on_a_full_disk() {
    each(Fault::FailFrom(Errno::NoSpace));
}

#[test]
fn no_event_is_lost_on_a_disk_that_is_full_for_a_moment() {
    each(Fault::Fail(Errno::NoSpace));
}
