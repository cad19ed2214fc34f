//! Waits for background work of the server: polls it instead of sleeping.

use ferrite_tests::Client;

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
