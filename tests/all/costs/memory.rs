//! Memory goes back to the system when the data is gone.

use std::time::{Duration, Instant};

use ferrite_tests::{Client, Server, encode};

/// Longest wait for memory to go back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Memory that the process takes up, in bytes.
fn resident(client: &mut Client) -> u64 {
    let info = client.run("INFO memory");
    let info = info.text().expect("text");
    let figure = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory_rss:"));
    figure
        .and_then(|figure| figure.trim().parse().ok())
        .expect("a number")
}

#[test]
fn memory_goes_back_after_a_flush() {
    let server = Server::builder()
        .arguments(&["--store-persistent", "false"])
        .start();
    let mut client = server.client();
    let at_first = resident(&mut client);
    let value = "v".repeat(300);
    for thousand in 0..200 {
        let mut requests = Vec::new();
        for key in 0..1_000 {
            let key = format!("key:{thousand}:{key}");
            requests.extend_from_slice(&encode(&["SET", key.as_str(), value.as_str()]));
        }
        client.send(&requests);
        for _ in 0..1_000 {
            assert_eq!(client.reply().text(), Some("OK"));
        }
    }
    let full = resident(&mut client);
    assert_eq!(client.run("FLUSHALL").text(), Some("OK"));
    let started = Instant::now();
    loop {
        let now = resident(&mut client);
        if now - at_first.min(now) < (full - at_first) / 4 {
            break;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{now} bytes are left of {full}, and {at_first} were there before"
        );
    }
}
