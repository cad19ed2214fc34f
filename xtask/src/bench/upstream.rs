//! Functions on the data of an engine, beside `EVALSHA` of the same logic in that engine.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ferrite_tests::Reply;
use serde::{Deserialize, Serialize};

use super::figures::{Figures, Rate, Short};
use super::load::{Generator, Shape, must_succeed};
use super::machine::Machine;
use super::socket::{self, PERMISSIONS, PIPELINED, SINGLE};
use super::valkey;
use crate::binaries::{self, BuildProfile};
use crate::server::{Server, free_port};
use crate::workspace::Workspace;

/// A function to call: its name, the call's keys and arguments, the same logic in Lua.
type Workload = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

/// The function that computes about a millisecond and touches no data.
const COMPUTING: &str = "sum";

const WORKLOADS: [Workload; 3] = [
    (
        "get_set",
        &["bench:__rand_int__"],
        &["0123456789abcdef"],
        "local old = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1]) return old",
    ),
    (
        "rate_limit",
        &["ratelimit:__rand_int__"],
        &["1000000000", "60"],
        "local current = tonumber(redis.call('GET', KEYS[1]) or '0') \
         if current >= tonumber(ARGV[1]) then return false end \
         redis.call('INCR', KEYS[1]) \
         if current == 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end \
         return true",
    ),
    (
        COMPUTING,
        &[],
        &["1000000"],
        "local sum = 0 for count = tonumber(ARGV[1]), 1, -1 do sum = sum + count end return sum",
    ),
];

/// Numbers of servers in front of one engine.
const SERVERS: [usize; 3] = [1, 2, 4];

/// Cores of the machines that the model foresees.
const MODEL_CORES: [f64; 4] = [1.0, 2.0, 4.0, 8.0];

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
    /// Replies a second.
    rates: Figures,
    /// Milliseconds.
    p50: Figures,
    p99: Figures,
    /// Microseconds of processor time for each call, in the engine and in the server before it.
    engine: Figures,
    server: Figures,
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
    command: Vec<String>,
}

/// Name of the contender that runs in the engine.
const IN_ENGINE: &str = "EVALSHA";
/// Name of the contender that runs in the server before it.
const IN_SERVER: &str = "WASM.CALL";

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
    let most = SERVERS.into_iter().max().unwrap_or(1);
    let servers = (0..most)
        .map(|number| start(workspace, profile, &folder, &engine, number))
        .collect::<Result<Vec<_>>>()?;
    let [first, ..] = servers.as_slice() else {
        bail!("there is no server to measure");
    };
    load_functions(workspace, first)?;
    let plan = plan(&engine)?;
    for turn in &plan {
        must_succeed(side(turn, &engine, first), &turn.command)?;
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
            row.measure(turn, &generator, &engine, first, seconds)?;
            println!(
                "{round}/{rounds}  {:<10} {:<9} -c {:<2} -P {:<2} {:>12.0}/s",
                turn.workload,
                turn.contender,
                turn.shape.connections,
                turn.shape.pipeline,
                row.rates.last().unwrap_or_default()
            );
        }
        for scaling in &mut scaling {
            let rate = rate_of_all(&generator, &servers[..scaling.servers], seconds)?;
            println!(
                "{round}/{rounds}  {COMPUTING:<10} through {} servers {rate:>12.0}/s",
                scaling.servers
            );
            scaling.rates.push(rate);
        }
    }
    let valkey_version = valkey::version(&engine);
    for server in servers {
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
            rates: Figures::default(),
            p50: Figures::default(),
            p99: Figures::default(),
            engine: Figures::default(),
            server: Figures::default(),
        }
    }

    fn measure(
        &mut self,
        turn: &Turn,
        generator: &Generator,
        engine: &Server,
        server: &Server,
        seconds: f64,
    ) -> Result<()> {
        let times = || -> Result<(f64, f64)> {
            Ok((engine.processor_seconds()?, server.processor_seconds()?))
        };
        let before = times()?;
        let measured = generator.counted(
            side(turn, engine, server),
            turn.shape,
            &turn.command,
            seconds,
        )?;
        let after = times()?;
        let micros = |seconds: f64| seconds * 1e6 / measured.requests as f64;
        self.rates.push(measured.last.rate);
        self.p50.push(measured.last.p50);
        self.p99.push(measured.last.p99);
        self.engine.push(micros(after.0 - before.0));
        self.server.push(micros(after.1 - before.1));
        Ok(())
    }
}

/// The server that a turn's commands go to.
fn side<'s>(turn: &Turn, engine: &'s Server, server: &'s Server) -> &'s Server {
    if turn.contender == IN_ENGINE {
        engine
    } else {
        server
    }
}

/// Starts a server in front of the engine.
fn start(
    workspace: &Workspace,
    profile: BuildProfile,
    folder: &Path,
    engine: &Server,
    number: usize,
) -> Result<Server> {
    let binary = binaries::server(workspace, profile)?;
    let wasmc = binaries::wasmc(workspace, profile)?;
    let port = free_port()?;
    let folder = folder.join(format!("server-{number}"));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let arguments: [OsString; 10] = [
        "--upstream".into(),
        format!("redis://{}", engine.address()).into(),
        // The sum of a million numbers needs more fuel than the default allows.
        "--wasm-limits-max-fuel".into(),
        "1000000000".into(),
        "--log".into(),
        "warn".into(),
        "--port".into(),
        port.to_string().into(),
        "--wasm-compiler".into(),
        wasmc.into(),
    ];
    let mut command = workspace.command(binary);
    command.args(arguments).arg("--dir").arg(&folder);
    Server::start(&mut command, port, &folder.join("ferrite.log"))
}

fn load_functions(workspace: &Workspace, server: &Server) -> Result<()> {
    let mut client = server.client();
    for (name, ..) in WORKLOADS {
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
    for (workload, keys, arguments, script) in WORKLOADS {
        let sha = must_succeed(engine, &["SCRIPT", "LOAD", script])?;
        let sha = sha.text().context("SCRIPT LOAD replies a digest")?;
        for shape in [PIPELINED, SINGLE] {
            for contender in [IN_SERVER, IN_ENGINE] {
                plan.push(Turn {
                    workload,
                    contender,
                    shape,
                    command: command(contender, workload, sha, keys, arguments),
                });
            }
        }
    }
    Ok(plan)
}

/// The command that runs a workload.
fn command(
    contender: &str,
    workload: &str,
    sha: &str,
    keys: &[&str],
    arguments: &[&str],
) -> Vec<String> {
    let count = keys.len().to_string();
    let mut words = if contender == IN_ENGINE {
        vec![contender, sha, &count]
    } else {
        vec![contender, workload, "KEYS"]
    };
    if contender == IN_SERVER && keys.is_empty() {
        words.pop();
    }
    words.extend(keys);
    if contender == IN_SERVER {
        words.push("ARGS");
    }
    words.extend(arguments);
    words.into_iter().map(str::to_owned).collect()
}

/// Rate at which several servers together answer calls of the computing function.
fn rate_of_all(generator: &Generator, servers: &[Server], seconds: f64) -> Result<f64> {
    let command = command(IN_SERVER, COMPUTING, "", &[], &["1000000"]);
    let shape = Shape {
        connections: SINGLE.connections / servers.len() as u32,
        pipeline: SINGLE.pipeline,
    };
    std::thread::scope(|scope| {
        let loads: Vec<_> = servers
            .iter()
            .map(|server| scope.spawn(|| generator.rate(server, shape, &command, seconds)))
            .collect();
        let mut sum = 0.0;
        for load in loads {
            match load.join() {
                Ok(rate) => sum += rate?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(sum)
    })
}

/// Calls a second of as many servers as fill `cores`, with the engine on a core of its own: the servers'
/// processors or the engine's are used up first. Times are in microseconds of processor time a call.
fn foreseen(server: f64, engine: f64, cores: f64) -> f64 {
    let of_servers = cores * 1e6 / server;
    if engine > 0.0 {
        of_servers.min(1e6 / engine)
    } else {
        of_servers
    }
}

/// Returns the whole page.
pub(super) fn page(machine: &Machine, figures: &Upstream) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, machine, figures);
    page
}

fn write_page(page: &mut String, machine: &Machine, figures: &Upstream) -> std::fmt::Result {
    let Upstream {
        valkey_version,
        rows,
        scaling,
    } = figures;
    writeln!(page, "# Benchmarks in front of an engine\n")?;
    writeln!(
        page,
        "Measured by `cargo xtask bench --only upstream`, which wrote this page: `ferrite-server --upstream` in"
    )?;
    writeln!(
        page,
        "front of a Valkey {valkey_version} without persistence, beside `EVALSHA` of the same logic in that Valkey,"
    )?;
    writeln!(
        page,
        "taking turns. Loads by `redis-benchmark`. Figures are medians. The engine, the servers and the load share"
    )?;
    writeln!(page, "the machine's processors.\n")?;
    writeln!(
        page,
        "*{}, {} cores; {}; commit {}, profile {}.*\n",
        machine.processor, machine.cores, machine.kernel, machine.commit, machine.profile
    )?;
    writeln!(page, "## Beside scripts in the engine\n")?;
    writeln!(
        page,
        "The last two columns are microseconds of processor time for each call, in the engine and in the server."
    )?;
    writeln!(
        page,
        "The engine's part is what it cannot do for others meanwhile.\n"
    )?;
    writeln!(
        page,
        "| logic | load | by | calls a second | of EVALSHA | p50 ms | p99 ms | engine µs | server µs |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|---|---|---|")?;
    for row in rows {
        let peer = rows.iter().find(|other| {
            other.workload == row.workload
                && other.shape == row.shape
                && other.contender == IN_ENGINE
        });
        let ratio = peer.map_or(f64::NAN, |peer| row.rates.over(&peer.rates).median());
        let server = if row.contender == IN_SERVER {
            Short(row.server.median()).to_string()
        } else {
            "–".to_owned()
        };
        writeln!(
            page,
            "| {} | -c {} -P {} | {} | {} ({}–{}) | {ratio:.2} | {:.3} | {:.3} | {} | {server} |",
            row.workload,
            row.shape.connections,
            row.shape.pipeline,
            row.contender,
            Rate(row.rates.median()),
            Rate(row.rates.low()),
            Rate(row.rates.high()),
            row.p50.median(),
            row.p99.median(),
            Short(row.engine.median()),
        )?;
    }
    write_scaling(page, rows, scaling)
}

fn write_scaling(page: &mut String, rows: &[Row], scaling: &[Scaling]) -> std::fmt::Result {
    writeln!(page, "\n## More servers\n")?;
    writeln!(
        page,
        "Calls a second of `{COMPUTING}`, which computes and touches no data, at {} connections over all servers.",
        SINGLE.connections
    )?;
    writeln!(
        page,
        "The load shares the machine's processors with them, and its turns do not end at the same moment:\n"
    )?;
    writeln!(page, "| servers | calls a second |")?;
    writeln!(page, "|---|---|")?;
    for scaling in scaling {
        writeln!(
            page,
            "| {} | {} ({}–{}) |",
            scaling.servers,
            Rate(scaling.rates.median()),
            Rate(scaling.rates.low()),
            Rate(scaling.rates.high()),
        )?;
    }
    writeln!(
        page,
        "\nWhat more machines would do is a model, fed with the processor times measured above at -P {}: servers that have so many",
        PIPELINED.pipeline
    )?;
    writeln!(
        page,
        "processors together, and an engine with one of its own. It leaves the network out. Calls a second:\n"
    )?;
    let mut head = "| logic |".to_owned();
    let mut line = "|---|".to_owned();
    for cores in MODEL_CORES {
        let _ = write!(head, " {cores} |");
        line.push_str("---|");
    }
    writeln!(page, "{head} `EVALSHA` |\n{line}---|")?;
    for row in rows {
        if row.contender != IN_SERVER || row.shape != PIPELINED {
            continue;
        }
        let (server, engine) = (row.server.median(), row.engine.median());
        write!(page, "| {} |", row.workload)?;
        for cores in MODEL_CORES {
            write!(page, " {} |", Rate(foreseen(server, engine, cores)))?;
        }
        let peer = rows.iter().find(|other| {
            other.workload == row.workload
                && other.shape == row.shape
                && other.contender == IN_ENGINE
        });
        let script = peer.map_or(f64::NAN, |peer| 1e6 / peer.engine.median());
        writeln!(page, " {} |", Rate(script))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_asked_for_the_same() {
        let words =
            |contender, keys: &[&str]| command(contender, "f", "sha", keys, &["1"]).join(" ");
        assert_eq!(words(IN_SERVER, &["k"]), "WASM.CALL f KEYS k ARGS 1");
        assert_eq!(words(IN_ENGINE, &["k"]), "EVALSHA sha 1 k 1");
        assert_eq!(words(IN_SERVER, &[]), "WASM.CALL f ARGS 1");
        assert_eq!(words(IN_ENGINE, &[]), "EVALSHA sha 0 1");
    }

    #[test]
    fn whoever_is_used_up_first_bounds_the_rate() {
        assert_eq!(foreseen(100.0, 10.0, 1.0), 10_000.0);
        assert_eq!(foreseen(100.0, 10.0, 8.0), 80_000.0);
        assert_eq!(foreseen(100.0, 50.0, 8.0), 20_000.0);
        assert_eq!(foreseen(100.0, 0.0, 8.0), 80_000.0);
    }

    #[test]
    fn the_page_sets_both_beside_each_other() {
        let row = |contender: &str, rate: f64, engine: f64| Row {
            workload: "get_set".to_owned(),
            contender: contender.to_owned(),
            shape: PIPELINED,
            rates: [rate].into_iter().collect(),
            p50: [1.0].into_iter().collect(),
            p99: [2.0].into_iter().collect(),
            engine: [engine].into_iter().collect(),
            server: [20.0].into_iter().collect(),
        };
        let mut page = String::new();
        let rows = [
            row(IN_SERVER, 50_000.0, 5.0),
            row(IN_ENGINE, 200_000.0, 4.0),
        ];
        let figures = Upstream {
            valkey_version: "9".to_owned(),
            rows: rows.into(),
            scaling: vec![],
        };
        write_scaling(&mut page, &figures.rows, &[]).unwrap();
        assert!(
            page.ends_with("| get_set | 50K | 100K | 200K | 200K | 250K |\n"),
            "{page}"
        );
    }
}
