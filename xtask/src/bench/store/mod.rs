//! The embedded store: its commands beside Valkey's, both durable each second; endless functions
//! beside them; starting with a million keys.

pub(super) mod endless;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ferrite_tests::Reply;
use serde::{Deserialize, Serialize};

use self::endless::Endless;
use super::figures::Figures;
use super::load::{Generator, must_succeed};
use super::socket::PIPELINED;
use super::valkey;
use crate::binaries::{self, BuildProfile};
use crate::server::{Server, free_port};
use crate::workspace::Workspace;

/// The standard tests of `redis-benchmark` to compare.
const TESTS: [&str; 9] = [
    "set", "get", "incr", "lpush", "rpop", "sadd", "hset", "zadd", "mset",
];

/// Number of keys for the measured start.
const MANY_KEYS: u32 = 1_000_000;

/// The figures of this part.
#[derive(Serialize, Deserialize)]
pub(super) struct Store {
    pub(super) valkey_version: String,
    pub(super) rows: Vec<Row>,
    pub(super) endless: Endless,
    pub(super) ferrite: ManyKeys,
    pub(super) valkey: ManyKeys,
}

/// The figures of both servers in one test of `redis-benchmark`, one a round, in requests a second.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) test: String,
    pub(super) ferrite: Figures,
    pub(super) valkey: Figures,
}

/// A server with a million small keys.
#[derive(Serialize, Deserialize)]
pub(super) struct ManyKeys {
    /// From the start of the process until it answers with all keys, in milliseconds.
    pub(super) start: Figures,
    /// Memory in use at that time.
    pub(super) resident_kib: u64,
}

/// # Errors
/// If a server does not start, or a request fails.
pub(super) fn measure(
    workspace: &Workspace,
    profile: BuildProfile,
    rounds: usize,
    seconds: f64,
) -> Result<Store> {
    let generator = Generator::find()?;
    let folder = workspace.target.join("bench/store");
    super::empty(&folder)?;
    let bench = Bench {
        workspace,
        profile,
        folder: &folder,
    };
    let valkey = bench.valkey("commands")?;
    let ferrite = bench.ferrite("commands")?;
    let valkey_version = valkey::version(&valkey);
    let rows = commands(&generator, &ferrite, &valkey, rounds, seconds)?;
    valkey.stop()?;
    let endless = endless::measure(&generator, &ferrite, rounds, seconds)?;
    ferrite.stop()?;
    Ok(Store {
        valkey_version,
        rows,
        endless,
        ferrite: many_keys(rounds, &|| bench.ferrite("many"))?,
        valkey: many_keys(rounds, &|| bench.valkey("many"))?,
    })
}

/// Starts servers on folders that are kept.
struct Bench<'a> {
    workspace: &'a Workspace,
    profile: BuildProfile,
    folder: &'a Path,
}

impl Bench<'_> {
    fn ferrite(&self, name: &str) -> Result<Server> {
        let binary = binaries::server(self.workspace, self.profile)?;
        let wasmc = binaries::wasmc(self.workspace, self.profile)?;
        let folder = self.folder.join(format!("ferrite-{name}"));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let port = free_port()?;
        let mut command = self.workspace.command(binary);
        command
            .args(["--store-durability", "everysec", "--log", "warn"])
            .args(["--wasm-limits-max-fuel", "1000000000000000"])
            .args(["--wasm-limits-max-time", "1h"])
            .args(["--port", &port.to_string(), "--dir"])
            .arg(&folder);
        command.arg("--wasm-compiler").arg(wasmc);
        Server::start(&mut command, port, &folder.join("server.log"))
    }

    fn valkey(&self, name: &str) -> Result<Server> {
        let folder = self.folder.join(format!("valkey-{name}"));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        valkey::start_durable(self.workspace, &folder)
    }
}

fn commands(
    generator: &Generator,
    ferrite: &Server,
    valkey: &Server,
    rounds: usize,
    seconds: f64,
) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = TESTS
        .map(|test| Row {
            test: test.to_owned(),
            ferrite: Figures::default(),
            valkey: Figures::default(),
        })
        .into();
    for round in 1..=rounds {
        for row in &mut rows {
            for (server, figures, name) in [
                (ferrite, &mut row.ferrite, "ferrite"),
                (valkey, &mut row.valkey, "valkey"),
            ] {
                must_succeed(server, &["FLUSHALL"])?;
                let rate = generator.standard(server, PIPELINED, &row.test, seconds)?;
                println!("{round}/{rounds}  {:<6} {name:<8} {rate:>12.0}/s", row.test);
                figures.push(rate);
            }
        }
    }
    Ok(rows)
}

fn many_keys(rounds: usize, start: &dyn Fn() -> Result<Server>) -> Result<ManyKeys> {
    const BATCH: u32 = 1000;
    let server = start()?;
    let mut client = server.client();
    for first in (0..MANY_KEYS).step_by(BATCH as usize) {
        let mut words = vec!["MSET".to_owned()];
        for key in first..first + BATCH {
            words.extend([format!("key:{key:012}"), format!("value:{key:010}")]);
        }
        let reply = client.call(&words);
        if let Reply::Error(error) = reply {
            bail!("MSET was answered with {error}");
        }
    }
    server.stop()?;
    let mut figures = ManyKeys {
        start: Figures::default(),
        resident_kib: 0,
    };
    for _ in 0..rounds {
        let started = Instant::now();
        let server = start()?;
        // Valkey listens before it has read everything, and replies an error until then.
        loop {
            match server.client().call(&["DBSIZE"]) {
                Reply::Int(size) if size == i64::from(MANY_KEYS) => break,
                Reply::Error(error) if error.starts_with("LOADING") => {}
                other => bail!("DBSIZE was answered with {other:?}"),
            }
        }
        let took = started.elapsed().as_secs_f64() * 1e3;
        println!("a million keys: up after {took:.0} ms");
        figures.start.push(took);
        figures.resident_kib = server.memory_kib("VmRSS")?;
        server.stop()?;
    }
    Ok(figures)
}
