//! Functions on the data of an engine, beside `EVALSHA` of the same logic in that engine.

mod page;
mod servers;

use anyhow::{Context, Result, bail};
use ferrite_tests::Reply;
use serde::{Deserialize, Serialize};

pub(super) use self::page::page;
use self::servers::{Programs, calls, count, rate_of_all, wait_for};
use super::figures::Figures;
use super::load::{Generator, Shape, must_succeed};
use super::socket::{self, PERMISSIONS, PIPELINED, SINGLE};
use super::valkey;
use crate::binaries::{self, BuildProfile};
use crate::server::Server;
use crate::workspace::Workspace;

/// A function to call.
struct Workload {
    name: &'static str,
    /// Start of its keys' names; `None` if it has none. Each contender has keys of its own.
    keys: Option<&'static str>,
    arguments: &'static [&'static str],
    /// The same logic in Lua.
    script: &'static str,
    /// The shapes of its loads. The model is fed by the first.
    shapes: &'static [Shape],
}

/// The function that computes about a millisecond and touches no data.
const COMPUTING: Workload = Workload {
    name: "sum",
    keys: None,
    arguments: &["1000000"],
    script: "local sum = 0 for count = tonumber(ARGV[1]), 1, -1 do sum = sum + count end return sum",
    // More of them at once would only wait for each other.
    shapes: &[SINGLE],
};

const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "get_set",
        keys: Some("bench"),
        arguments: &["0123456789abcdef"],
        script: "local old = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1]) return old",
        shapes: &[PIPELINED, SINGLE],
    },
    Workload {
        name: "rate_limit",
        keys: Some("ratelimit"),
        arguments: &["1000000000", "60"],
        script: "local current = tonumber(redis.call('GET', KEYS[1]) or '0') \
         if current >= tonumber(ARGV[1]) then return false end \
         redis.call('INCR', KEYS[1]) \
         if current == 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end \
         return true",
        shapes: &[PIPELINED, SINGLE],
    },
    COMPUTING,
];

/// Numbers of keys over which the calls are spread: with few, calls that run at once often have the same key,
/// and conflict; with many, hardly any do.
const SPREADS: [u32; 2] = [10_000, 1_000_000];

/// Connections of all servers together when several are measured.
const SCALING_CONNECTIONS: u32 = 48;

/// Numbers of servers in front of one engine.
const SERVERS: [usize; 3] = [1, 2, 4];

/// The figures of this part.
#[derive(Serialize, Deserialize)]
pub(super) struct Upstream {
    valkey_version: String,
    rows: Vec<Row>,
    scaling: Vec<Scaling>,
}

/// The figures of one contender with one workload; one figure a round in each.
#[derive(Serialize, Deserialize)]
struct Row {
    workload: String,
    contender: String,
    shape: Shape,
    /// Number of keys; 0 if calls have none.
    keys: u32,
    /// Replies a second.
    rates: Figures,
    /// Milliseconds.
    p50: Figures,
    p99: Figures,
    /// Microseconds of processor time for each call, in the engine and in the server before it.
    engine: Figures,
    server: Figures,
    /// Times that the function ran again, for each call.
    again: Figures,
}

/// Calls of the computing function through several servers at once.
#[derive(Serialize, Deserialize)]
struct Scaling {
    servers: usize,
    /// Replies a second of all servers together.
    rates: Figures,
}

/// One turn of a round.
struct Turn {
    workload: &'static str,
    contender: &'static str,
    shape: Shape,
    keys: u32,
    command: Vec<String>,
}

/// Name of the contender that runs in the engine.
const IN_ENGINE: &str = "EVALSHA";
/// Name of the contender that runs in the server before it.
const IN_SERVER: &str = "WASM.CALL";
/// Name of the contender that runs in a server that keeps values for later calls.
const KEEPING: &str = "WASM.CALL (kept)";

/// The option of that server.
const KEEPS: [&str; 2] = ["--upstream-max-kept", "64MB"];

/// The servers that the turns go to.
struct Sides<'s> {
    engine: &'s Server,
    server: &'s Server,
    keeping: &'s Server,
}

impl<'s> Sides<'s> {
    /// The server that a contender's commands go to.
    fn of(&self, contender: &str) -> &'s Server {
        match contender {
            IN_ENGINE => self.engine,
            KEEPING => self.keeping,
            _ => self.server,
        }
    }

    /// The server in front of the engine that takes part; any, if none does.
    fn before_engine(&self, contender: &str) -> &'s Server {
        match contender {
            KEEPING => self.keeping,
            _ => self.server,
        }
    }
}

/// Measures everything, each contender once a round.
///
/// # Errors
/// If a server does not start or a call fails.
pub(super) fn measure(
    workspace: &Workspace,
    profile: BuildProfile,
    rounds: usize,
    seconds: f64,
) -> Result<Upstream> {
    let generator = Generator::find()?;
    let folder = workspace.target.join("bench/upstream");
    super::empty(&folder)?;
    let engine = valkey::start(workspace, &folder)?;
    let programs = Programs {
        server: binaries::server(workspace, profile)?,
        wasmc: binaries::wasmc(workspace, profile)?,
    };
    let most = SERVERS.into_iter().max().unwrap_or(1);
    let servers = (0..most)
        .map(|number| programs.start(workspace, &folder, &engine, number, &[]))
        .collect::<Result<Vec<_>>>()?;
    let [first, ..] = servers.as_slice() else {
        bail!("there is no server to measure");
    };
    let keeping = programs.start(workspace, &folder, &engine, most, &KEEPS)?;
    let sides = Sides {
        engine: &engine,
        server: first,
        keeping: &keeping,
    };
    load_functions(workspace, first)?;
    for server in servers.iter().chain([&keeping]) {
        wait_for(|| calls(server).is_ok())?;
    }
    let plan = plan(&engine)?;
    for turn in &plan {
        must_succeed(sides.of(turn.contender), &turn.command)?;
    }
    let mut rows: Vec<Row> = plan.iter().map(Row::of).collect();
    let mut scaling: Vec<Scaling> = SERVERS
        .iter()
        .map(|&servers| Scaling {
            servers,
            rates: Figures::default(),
        })
        .collect();
    for round in 1..=rounds {
        for (turn, row) in plan.iter().zip(&mut rows) {
            row.measure(turn, &generator, &sides, seconds)?;
            println!(
                "{round}/{rounds}  {:<10} {:<16} -c {:<2} -P {:<2} {:>8} keys {:>12.0}/s",
                turn.workload,
                turn.contender,
                turn.shape.connections,
                turn.shape.pipeline,
                turn.keys,
                row.rates.last().unwrap_or_default()
            );
        }
        for scaling in &mut scaling {
            let rate = rate_of_all(&generator, &servers[..scaling.servers], seconds)?;
            println!(
                "{round}/{rounds}  {:<10} through {} servers {rate:>12.0}/s",
                COMPUTING.name, scaling.servers
            );
            scaling.rates.push(rate);
        }
    }
    let valkey_version = valkey::version(&engine);
    for server in servers.into_iter().chain([keeping]) {
        server.stop()?;
    }
    engine.stop()?;
    Ok(Upstream {
        valkey_version,
        rows,
        scaling,
    })
}

impl Row {
    fn of(turn: &Turn) -> Self {
        Self {
            workload: turn.workload.to_owned(),
            contender: turn.contender.to_owned(),
            shape: turn.shape,
            keys: turn.keys,
            rates: Figures::default(),
            p50: Figures::default(),
            p99: Figures::default(),
            engine: Figures::default(),
            server: Figures::default(),
            again: Figures::default(),
        }
    }

    fn measure(
        &mut self,
        turn: &Turn,
        generator: &Generator,
        sides: &Sides<'_>,
        seconds: f64,
    ) -> Result<()> {
        let (engine, server) = (sides.engine, sides.before_engine(turn.contender));
        let times = || -> Result<(f64, f64)> {
            Ok((engine.processor_seconds()?, server.processor_seconds()?))
        };
        let again = || count(server, turn.workload, "retries");
        let (before, again_before) = (times()?, again()?);
        let measured = generator.with_keys(turn.keys.max(1)).counted(
            sides.of(turn.contender),
            turn.shape,
            &turn.command,
            seconds,
        )?;
        let (after, again_after) = (times()?, again()?);
        let again = (again_after - again_before) as f64;
        self.again.push(again / measured.requests as f64);
        let micros = |seconds: f64| seconds * 1e6 / measured.requests as f64;
        self.rates.push(measured.last.rate);
        self.p50.push(measured.last.p50);
        self.p99.push(measured.last.p99);
        self.engine.push(micros(after.0 - before.0));
        self.server.push(micros(after.1 - before.1));
        Ok(())
    }
}

fn load_functions(workspace: &Workspace, server: &Server) -> Result<()> {
    let mut client = server.client();
    for Workload { name, .. } in WORKLOADS {
        let source = socket::source(workspace, name)?;
        let mut command = vec![b"WASM.LOAD".to_vec(), name.as_bytes().to_vec(), source];
        command.extend(["PERMISSIONS", PERMISSIONS].map(|word| word.as_bytes().to_vec()));
        if let Reply::Error(error) = client.call(&command) {
            bail!("the server refused {name}: {error}");
        }
    }
    Ok(())
}

fn plan(engine: &Server) -> Result<Vec<Turn>> {
    let mut plan = Vec::new();
    for workload in &WORKLOADS {
        let sha = must_succeed(engine, &["SCRIPT", "LOAD", workload.script])?;
        let sha = sha.text().context("SCRIPT LOAD replies a digest")?;
        let (spreads, contenders): (&[u32], &[_]) = match workload.keys {
            Some(_) => (&SPREADS, &[IN_SERVER, KEEPING, IN_ENGINE]),
            None => (&[0], &[IN_SERVER, IN_ENGINE]),
        };
        for shape in workload.shapes {
            for &keys in spreads {
                for &contender in contenders {
                    plan.push(Turn {
                        workload: workload.name,
                        contender,
                        shape: *shape,
                        keys,
                        command: command(contender, workload, sha),
                    });
                }
            }
        }
    }
    Ok(plan)
}

/// The command that runs a workload.
fn command(contender: &str, workload: &Workload, sha: &str) -> Vec<String> {
    let Workload {
        name,
        keys,
        arguments,
        ..
    } = workload;
    let own = match contender {
        IN_ENGINE => "script",
        KEEPING => "kept",
        _ => "call",
    };
    let key = keys.map(|keys| format!("{keys}:{own}:__rand_int__"));
    let mut words = match (contender, &key) {
        (IN_ENGINE, Some(_)) => vec![contender, sha, "1"],
        (IN_ENGINE, None) => vec![contender, sha, "0"],
        (_, Some(_)) => vec![IN_SERVER, name, "KEYS"],
        (_, None) => vec![IN_SERVER, name],
    };
    words.extend(key.as_deref());
    if contender != IN_ENGINE {
        words.push("ARGS");
    }
    words.extend(*arguments);
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_asked_for_the_same_with_keys_of_their_own() {
        let words = |contender, workload: &Workload| command(contender, workload, "sha").join(" ");
        let [get_set, ..] = &WORKLOADS;
        assert_eq!(
            words(IN_SERVER, get_set),
            "WASM.CALL get_set KEYS bench:call:__rand_int__ ARGS 0123456789abcdef"
        );
        assert_eq!(
            words(IN_ENGINE, get_set),
            "EVALSHA sha 1 bench:script:__rand_int__ 0123456789abcdef"
        );
        assert_eq!(
            words(KEEPING, get_set),
            "WASM.CALL get_set KEYS bench:kept:__rand_int__ ARGS 0123456789abcdef"
        );
        assert_eq!(words(IN_SERVER, &COMPUTING), "WASM.CALL sum ARGS 1000000");
        assert_eq!(words(IN_ENGINE, &COMPUTING), "EVALSHA sha 0 1000000");
    }

    #[test]
    fn several_servers_share_the_connections_evenly() {
        for servers in SERVERS {
            assert_eq!(SCALING_CONNECTIONS as usize % servers, 0);
        }
    }
}
