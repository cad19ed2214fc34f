//! Waits for background work of the server, which is polled, and for other programs.

use std::time::{Duration, Instant};

use ferrite_tests::Client;

/// Asks until `met` returns true. Another program may take long to start on a busy machine.
pub(crate) fn until(what: &str, mut met: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !met() {
        assert!(Instant::now() < end, "it never happens that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Polls until the server's `INFO` has this line; each poll is a whole round trip.
pub(crate) fn wait_until(client: &mut Client, line: &str) {
    let mut info = String::new();
    for _ in 0..100_000 {
        info = client.run("INFO").text().expect("text").to_owned();
        if info.contains(line) {
            return;
        }
    }
    panic!("never {line:?}: {info}");
}

/// Polls until a call is running.
pub(crate) fn wait_for_call(client: &mut Client) {
    wait_until(client, "running_calls:1\r\n");
}
