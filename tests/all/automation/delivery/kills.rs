//! `kill -9` at any moment, while events are caused and delivered. `FERRITE_KILLS` sets how many times.

use std::fs;
use std::time::Duration;

use ferrite_tests::{Client, encode};
use rustix::process::Signal;

use super::super::durable;
use super::{check_notes, note_appends};

/// Kills in a plain run.
const KILLS: u64 = 5;

/// Appends numbers until the server is killed. Each list gets 20 of them, three lists at a time. Returns the
/// number of appends that were answered.
fn append(client: &mut Client, next: &mut usize) -> usize {
    let mut answered = 0;
    loop {
        let key = format!("list:{}:{}", *next / 60, *next % 3);
        let sent = client.try_send(&encode(&["RPUSH", &key, &next.to_string()]));
        *next += 1;
        let reply = sent.ok().and_then(|()| client.next());
        let Some(reply) = reply else {
            return answered;
        };
        assert!(reply.int().is_some(), "{reply:?}");
        answered += 1;
    }
}

#[test]
fn whatever_the_moment_each_event_takes_effect_once() {
    let kills = std::env::var("FERRITE_KILLS").map_or(KILLS, |text| {
        text.parse().expect("FERRITE_KILLS is a number")
    });
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = durable(dir.path());
    note_appends(&mut server.client());
    assert!(server.stop().success());
    let (mut next, mut answered) = (0, 0);
    for kill in 0..kills {
        // The time from the first answer to the n-th kill is the same in every run.
        let delay = fastrand::Rng::with_seed(kill).u64(0..230);
        let server = durable(dir.path());
        let mut client = server.client();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(delay));
                server.signal(Signal::KILL);
            });
            answered += append(&mut client, &mut next);
        });
    }
    assert!(answered > 0, "no append was answered before a kill");
    let server = durable(dir.path());
    let counted = check_notes(&mut server.client());
    println!("{kills} kills: {answered} appends were answered, {counted:?}");
    assert!(
        (answered..=next).contains(&counted.appends),
        "{answered} of {next} were answered: {counted:?}"
    );
    let log = fs::read_to_string(dir.path().join("server.log")).unwrap_or_default();
    assert!(!log.contains("panicked"), "{log}");
}
