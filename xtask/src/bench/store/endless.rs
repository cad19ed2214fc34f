//! Endless functions: the latency of other requests beside them, and the time to end them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ferrite_tests::{Client, encode};
use serde::{Deserialize, Serialize};

use crate::bench::figures::Figures;
use crate::bench::load::{Generator, Latency, Shape, must_succeed};
use crate::server::Server;

/// Load for measuring latency: few connections, one request at a time.
const CALM: Shape = Shape {
    connections: 10,
    pipeline: 1,
};

/// Number of endless calls that run at once.
pub(in crate::bench) const CALLS: usize = 8;

/// Number of calls to end in each way, in each round.
const ENDS: usize = 20;

/// Time limit of a call that should time out.
const TIMEOUT: Duration = Duration::from_millis(50);

/// Time that a call runs before it is ended, long enough to be one of the long calls that take
/// turns.
const RUNS: Duration = Duration::from_millis(25);

/// Pause between two polls of the server, which would be a load without it.
const LOOK: Duration = Duration::from_micros(250);

const MODULE: &str = r#"(module (func (export "run") (loop $again (br $again))))"#;

/// The figures of this part.
#[derive(Default, Serialize, Deserialize)]
pub(in crate::bench) struct Endless {
    /// `GET` of a server that does nothing else.
    pub(in crate::bench) idle: Latencies,
    /// `GET` of a server on which functions run without end.
    pub(in crate::bench) busy: Latencies,
    /// From `WASM.KILL` to the caller's error, while the other calls still run, in milliseconds.
    pub(in crate::bench) killed: Figures,
    /// From a call's time limit to the caller's error, while other calls run.
    pub(in crate::bench) timed_out: Figures,
    /// From the close of the caller's connection until no call of its function runs any more.
    pub(in crate::bench) departed: Figures,
}

/// Latencies in milliseconds, one figure a round.
#[derive(Default, Serialize, Deserialize)]
pub(in crate::bench) struct Latencies {
    pub(in crate::bench) p50: Figures,
    pub(in crate::bench) p99: Figures,
}

impl Latencies {
    fn push(&mut self, latency: Latency) {
        self.p50.push(latency.p50);
        self.p99.push(latency.p99);
    }
}

/// # Errors
/// If a request fails, or an endless call ends by itself.
pub(in crate::bench) fn measure(
    generator: &Generator,
    server: &Server,
    rounds: usize,
    seconds: f64,
) -> Result<Endless> {
    for name in ["endless", "ended"] {
        must_succeed(server, &["WASM.DEFINE", name, MODULE, "REPLACE"])?;
    }
    let mut figures = Endless::default();
    for round in 1..=rounds {
        let idle = generator.latency(server, CALM, "get", seconds)?;
        let mut callers: Vec<Client> = (0..CALLS).map(|_| server.client()).collect();
        for caller in &mut callers {
            caller.send(&encode(&["WASM.CALL", "endless"]));
        }
        wait_for_calls(server, CALLS)?;
        let busy = generator.latency(server, CALM, "get", seconds)?;
        for _ in 0..ENDS {
            figures.killed.push(milliseconds(killed(server)?));
            figures.timed_out.push(milliseconds(timed_out(server)?));
            figures.departed.push(milliseconds(departed(server)?));
        }
        must_succeed(server, &["WASM.KILL", "endless"])?;
        for mut caller in callers {
            ended(&mut caller)?;
        }
        println!(
            "{round}/{rounds}  GET p99 {:.3} ms idle, {:.3} ms busy; at most {:.1} ms to a kill, {:.1} to a timeout, {:.1} to a departure",
            idle.p99,
            busy.p99,
            figures.killed.high(),
            figures.timed_out.high(),
            figures.departed.high(),
        );
        figures.idle.push(idle);
        figures.busy.push(busy);
    }
    Ok(figures)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Sends a call that never ends, and waits until it runs.
fn start(server: &Server, words: &[&str]) -> Result<Client> {
    let mut caller = server.client();
    caller.send(&encode(words));
    wait_for_calls(server, CALLS + 1)?;
    thread::sleep(RUNS);
    Ok(caller)
}

fn killed(server: &Server) -> Result<Duration> {
    let mut caller = start(server, &["WASM.CALL", "ended"])?;
    let mut killer = server.client();
    let started = Instant::now();
    killer.send(&encode(&["WASM.KILL", "ended"]));
    ended(&mut caller)?;
    let took = started.elapsed();
    let reply = killer.reply();
    match reply.error() {
        None => Ok(took),
        Some(error) => bail!("WASM.KILL was answered with {error}"),
    }
}

fn timed_out(server: &Server) -> Result<Duration> {
    let timeout = TIMEOUT.as_millis().to_string();
    let mut caller = server.client();
    let started = Instant::now();
    caller.send(&encode(&["WASM.CALL", "ended", "TIMEOUT", &timeout]));
    ended(&mut caller)?;
    Ok(started.elapsed().saturating_sub(TIMEOUT))
}

fn departed(server: &Server) -> Result<Duration> {
    let caller = start(server, &["WASM.CALL", "ended"])?;
    let started = Instant::now();
    drop(caller);
    wait_for_calls(server, CALLS)?;
    Ok(started.elapsed())
}

fn ended(caller: &mut Client) -> Result<()> {
    let reply = caller.reply();
    if reply.error().is_none() {
        bail!("an endless call was answered with {reply:?}");
    }
    Ok(())
}

fn wait_for_calls(server: &Server, count: usize) -> Result<()> {
    let mut client = server.client();
    let line = format!("running_calls:{count}\r\n");
    for _ in 0..40_000 {
        let info = client.call(&["INFO", "wasm"]);
        if info.text().is_some_and(|text| text.contains(&line)) {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
    bail!("there were never {count} calls at once")
}
