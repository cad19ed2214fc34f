//! Functions that are slower than the writes: the queue has a bound, at which clients wait and nothing is lost.

use std::time::{Duration, Instant};

use ferrite_tests::{Reply, Server, encode};

use super::super::{READ_WRITE, define, ok};
use super::{TALLY, figure};
use crate::operations::monitoring::get;
use crate::support::guests::{ENDLESS, LONG_CALLS};

/// Bytes of events that may wait.
const BYTES_MAX: usize = 64 << 20;

/// Longest time until so many wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a value; with so many, the queue is full soon.
const VALUE_BYTES: usize = 60_000;

/// More events than may wait.
const EVENTS: usize = 1_300;

/// Bytes of the events that wait, as the server's metrics tell them.
fn pending_bytes(server: &Server) -> usize {
    let page = get(server.address_of("metrics"), "/metrics").expect("metrics");
    let mut lines = page.lines();
    lines
        .find_map(|line| line.strip_prefix("ferrite_trigger_pending_bytes "))
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or_else(|| panic!("no bytes that wait in {page}"))
}

#[test]
fn writes_wait_for_functions_that_are_slow() {
    let server = Server::builder()
        .arguments(&LONG_CALLS)
        .arguments(&["--metrics-address", "127.0.0.1:0"])
        .start();
    let (mut writer, mut client) = (server.client(), server.client());
    define(&mut client, "slow", ENDLESS);
    let add = "WASM.TRIGGER ADD t slow KEYS k:* EVENTS set";
    assert_eq!(client.run(add), ok());
    let value = "x".repeat(VALUE_BYTES);
    let count = |number: usize| i64::try_from(number).expect("a count");
    let mut sent = writer.try_clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..EVENTS {
                sent.send(&encode(&["SET", &format!("k:{number}"), &value]));
            }
        });
        // Reads go on while writes wait.
        let started = Instant::now();
        while pending_bytes(&server) < BYTES_MAX {
            assert!(started.elapsed() < PATIENCE, "the queue is not full");
        }
        let most = figure(&mut client, "pending");
        for _ in 0..100 {
            assert_eq!(
                figure(&mut client, "pending"),
                most,
                "the queue has a bound"
            );
        }
        assert_eq!(
            client.run("DBSIZE"),
            Reply::Int(most),
            "each write has its event"
        );
        assert_eq!(figure(&mut client, "delivered"), 0);
        // Mended: those that run are killed and tried again, and the writes go on.
        let words = ["WASM.DEFINE", "slow", TALLY, "PERMISSIONS", READ_WRITE];
        let mended = client.call(&[&words[..], &["REPLACE"]].concat());
        assert!(mended.text().is_some(), "{mended:?}");
        assert_eq!(client.run("WASM.KILL slow"), Reply::Int(32));
        for _ in 0..EVENTS {
            assert_eq!(writer.reply(), ok());
        }
    });
    while figure(&mut client, "pending") != 0 {}
    assert_eq!(figure(&mut client, "delivered"), count(EVENTS));
    assert_eq!(figure(&mut client, "failures"), 32);
    assert_eq!(client.run("DBSIZE"), Reply::Int(count(2 * EVENTS)));
}
