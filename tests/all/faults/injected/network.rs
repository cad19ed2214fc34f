//! Faults of the network, while clients send pipelines of requests.

use std::path::Path;

use ferrite_tests::{Client, Reply, Server, encode};

use super::{Errno, Fault, Kind, injector, points, read_report, total, wrapper};

/// Clients, one after the other, and a few more at the same time.
const CLIENTS: usize = 6;
/// Requests of each.
const REQUESTS: i64 = 40;

/// Increments a counter of its own; reconnects when the connection is lost.
fn client(server: &Server, name: usize) {
    let key = format!("counter:{name}");
    // The value is between what was answered and what was sent.
    let (mut answered, mut sent) = (0, 0);
    for _ in 0..4 {
        let Ok(mut client) = Client::try_connect(server.address()) else {
            continue;
        };
        let mut requests = Vec::new();
        for _ in 0..REQUESTS {
            requests.extend(encode(&["INCR", &key]));
            requests.extend(encode(&["ECHO", &"e".repeat(1000)]));
        }
        let before = answered;
        sent += REQUESTS;
        if client.try_send(&requests).is_err() {
            continue;
        }
        for index in 0..REQUESTS {
            match client.next() {
                Some(Reply::Int(value)) => {
                    assert!((answered + 1..=sent).contains(&value), "{value}");
                    // Within a connection, one after the other.
                    assert!(
                        index == 0 || value == answered + 1,
                        "{value} after {answered}"
                    );
                    answered = value;
                }
                // Refused before its first request.
                Some(Reply::Error(text)) if index == 0 && before == answered => {
                    assert!(text.contains("max number of clients"), "{text}");
                    break;
                }
                None => break,
                other => panic!("{other:?}"),
            }
            match client.next() {
                Some(Reply::Bulk(bytes)) => assert_eq!(bytes, "e".repeat(1000).as_bytes()),
                None => break,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn life(injector: &Path, fault: Fault, point: u64) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let report = dir.path().join("report");
    let words = wrapper(injector, dir.path(), Kind::Net, fault, point, &report);
    let server = match Server::builder()
        .dir(dir.path())
        .arguments(&["--store-persistent", "false", "--shutdown-timeout", "1s"])
        .wrapper(words)
        .try_start()
    {
        Ok(server) => server,
        Err(log) => {
            assert!(log.contains("ferrite-server: "), "no reason: {log}");
            return read_report(&report);
        }
    };
    std::thread::scope(|scope| {
        for name in 0..CLIENTS {
            let server = &server;
            scope.spawn(move || client(server, name));
        }
    });
    // Whatever happened, there is room for the next one.
    let served = (0..10).any(|_| {
        Client::try_connect(server.address()).is_ok_and(|mut client| {
            client.try_send(b"PING\r\n").is_ok()
                && client.next() == Some(Reply::Simple("PONG".into()))
        })
    });
    let ended = server.stop_and_log(|log| {
        assert!(!log.contains("panicked"), "{log}");
        assert!(served, "{fault:?} at {point}: {log}");
    });
    assert!(ended);
    read_report(&report)
}

fn each(fault: Fault) {
    let Some(injector) = injector() else { return };
    let counted = total(&life(&injector, Fault::Count, 0));
    assert!(counted > 100, "{counted} calls");
    for point in points(counted, fault) {
        let report = life(&injector, fault, point);
        println!("{report}");
    }
}

#[test]
fn a_reset() {
    each(Fault::Fail(Errno::ConnectionReset));
}

#[test]
fn an_aborted_connection() {
    each(Fault::Fail(Errno::ConnectionAborted));
}

#[test]
fn a_broken_pipe() {
    each(Fault::Fail(Errno::BrokenPipe));
}

#[test]
fn an_interrupted_call() {
    each(Fault::Fail(Errno::Interrupted));
}

#[test]
fn no_descriptors_for_a_moment() {
    each(Fault::Fail(Errno::TooManyFiles));
}

#[test]
fn no_memory_for_a_moment() {
    each(Fault::Fail(Errno::OutOfMemory));
}

#[test]
fn a_short_read_or_write() {
    each(Fault::Short);
}

#[test]
fn a_delay() {
    each(Fault::Delay);
}
