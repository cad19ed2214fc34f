//! Very many events. `FERRITE_EVENTS` sets how many; a million is a run by hand.

use std::time::Instant;

use ferrite_tests::{Client, Reply, Server, encode};

use super::super::{define, ok};
use super::figure;

/// Appends the value of a key to a list beside it.
const BESIDE: &str = include_str!("../engines/beside.wat");

/// Events in a plain run.
const EVENTS: usize = 5_000;

/// Events that a client causes before it waits for the replies.
const BATCH: usize = 1_000;

/// Keys that the events are of.
const KEYS: usize = 500;

/// The key that an event is of, which has 5 bytes.
fn key_of(number: usize) -> String {
    format!("k:{:03}", number % KEYS)
}

fn pending(client: &mut Client) -> usize {
    usize::try_from(figure(client, "pending")).expect("a count")
}

#[test]
fn each_of_very_many_events_is_delivered_once_and_in_order() {
    let events = std::env::var("FERRITE_EVENTS").map_or(EVENTS, |text| {
        text.parse().expect("FERRITE_EVENTS is a number")
    });
    let server = Server::start();
    let (mut client, mut other) = (server.client(), server.client());
    define(&mut client, "beside", BESIDE);
    let add = "WASM.TRIGGER ADD t beside KEYS k:??? EVENTS set";
    assert_eq!(client.run(add), ok());
    let before = server.memory_kib("VmRSS");
    let started = Instant::now();
    let mut longest = 0;
    for batch in 0..events.div_ceil(BATCH) {
        let numbers = batch * BATCH..events.min((batch + 1) * BATCH);
        let sent = numbers
            .clone()
            .flat_map(|number| encode(&["SET", &key_of(number), &number.to_string()]));
        client.send(&sent.collect::<Vec<u8>>());
        for _ in numbers {
            assert_eq!(client.reply(), ok());
        }
        longest = longest.max(pending(&mut other));
    }
    let written = started.elapsed();
    while pending(&mut other) != 0 {}
    let delivered = started.elapsed();
    // Writes wait at this many, and those under way at that moment come on top.
    assert!(longest <= 100_000 + BATCH, "{longest} events waited");
    for first in 0..KEYS.min(events) {
        let list = format!("{}.log", key_of(first));
        let noted = client.call(&["LRANGE", &list, "0", "-1"]);
        let noted = noted.elements().expect("a list").iter();
        let noted = noted.map(|one| one.text().and_then(|text| text.parse::<usize>().ok()));
        let caused = (first..events).step_by(KEYS).map(Some);
        assert!(noted.eq(caused), "{list}: each value once, in order");
    }
    for field in ["occurred", "delivered"] {
        let count = figure(&mut client, field);
        assert_eq!(usize::try_from(count), Ok(events), "{field}");
    }
    let info = client.run("WASM.TRIGGER INFO t");
    assert_eq!(info.at("failures"), Some(&Reply::Int(0)), "{info:?}");
    println!(
        "{events} events: written in {written:?}, delivered after {delivered:?} ({:.0} a second), at most {longest} waited, {} KiB before, {} KiB at most",
        events as f64 / delivered.as_secs_f64(),
        before,
        server.memory_kib("VmHWM"),
    );
}
