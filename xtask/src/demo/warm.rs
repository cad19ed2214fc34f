//! The demo's measurements: one connection, one call at a time. `cargo xtask bench` does better.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ferrite_tests::{Client, Reply};

use super::Compiled;

/// Number of calls for a median.
const CALLS: usize = 2_000;

/// A call for comparison: it takes the same way through the socket.
const PING: &[&str] = &["PING"];

const RATE_LIMIT: &[&str] = &[
    "WASM.CALL",
    "rate_limit",
    "KEYS",
    "ratelimit:warm",
    "ARGS",
    "1000000000",
    "60",
];

/// Measures warm calls and prints their medians.
pub(super) fn measure(client: &mut Client, functions: &[Compiled]) -> Result<()> {
    println!("{CALLS} round trips each, one at a time over one connection:");
    let mut commands = vec![PING];
    if functions
        .iter()
        .any(|function| function.name == "rate_limit")
    {
        commands.push(RATE_LIMIT);
    }
    for command in commands {
        let mut times = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let start = Instant::now();
            let reply = client.call(command);
            times.push(start.elapsed());
            if let Reply::Error(error) = reply {
                bail!("{} was answered with: {error}", command.join(" "));
            }
        }
        times.sort_unstable();
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let name = command
            .iter()
            .take(2)
            .copied()
            .collect::<Vec<_>>()
            .join(" ");
        let (median, p99) = (micros(times[CALLS / 2]), micros(times[CALLS * 99 / 100]));
        println!("  {name:<24} median {median:>6.1} µs   p99 {p99:>6.1} µs");
    }
    Ok(())
}
