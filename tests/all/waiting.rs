//! Waiting for what the server does by itself: by asking, not by the clock.

use ferrite_tests::Client;

/// Asks until the server's `INFO` has this line; each question is a whole round trip.
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

/// Asks until a call is running.
pub(crate) fn wait_for_call(client: &mut Client) {
    wait_until(client, "running_calls:1\r\n");
}
