//! Calls through the socket, compared with `PING` of the same server, and with Lua in Valkey.

pub(in crate::bench) mod scaling;

use std::path::Path;

use anyhow::{Context, Result};
use ferrite_tests::Reply;
use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::load::{Generator, Shape, must_succeed};
use super::valkey;
use super::valkey::Durability;
use crate::binaries::{self, BuildProfile};
use crate::examples;
use crate::server::{Server, free_port};
use crate::workspace::Workspace;

/// Many clients that pipeline: shows the cost of the server itself.
pub(in crate::bench) const PIPELINED: Shape = Shape {
    connections: 50,
    pipeline: 16,
};
/// Many clients that wait for each reply: shows the cost of the socket.
pub(in crate::bench) const SINGLE: Shape = Shape {
    connections: 50,
    pipeline: 1,
};
/// One client with one request, for calls that take long.
pub(in crate::bench) const ALONE: Shape = Shape {
    connections: 1,
    pipeline: 1,
};

/// The figures of this part.
#[derive(Serialize, Deserialize)]
pub(in crate::bench) struct Socket {
    pub(in crate::bench) valkey_version: String,
    pub(in crate::bench) rows: Vec<Row>,
}

/// The figures of one contender with one workload.
#[derive(Serialize, Deserialize)]
pub(in crate::bench) struct Row {
    pub(in crate::bench) workload: String,
    pub(in crate::bench) contender: String,
    pub(in crate::bench) shape: Shape,
    pub(in crate::bench) durability: Durability,
    /// Replies a second, one figure a round.
    pub(in crate::bench) rates: Figures,
    /// Processor time that the server took for a request, in microseconds, one figure a round. It does
    /// not depend on how fast the load comes.
    pub(in crate::bench) processor: Figures,
}

impl Socket {
    /// The figures of one contender, if it took part.
    pub(in crate::bench) fn row(
        &self,
        durability: Durability,
        workload: &str,
        contender: &str,
        shape: Shape,
    ) -> Option<&Row> {
        self.rows.iter().find(|row| {
            row.workload == workload
                && row.contender == contender
                && row.shape == shape
                && row.durability == durability
        })
    }

    /// The rates of one contender in memory, if it took part.
    pub(in crate::bench) fn rates(
        &self,
        workload: &str,
        contender: &str,
        shape: Shape,
    ) -> Option<&Figures> {
        let row = self.row(Durability::Memory, workload, contender, shape);
        row.map(|row| &row.rates)
    }
}

/// A function to call: its name, the call's keys and arguments, the shapes of the load.
pub(in crate::bench) type Workload = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [Shape],
);

/// The functions to call, with their input.
pub(in crate::bench) const WORKLOADS: &[Workload] = &[
    ("noop", &[], &[], &[PIPELINED, SINGLE]),
    (
        "get_set",
        &["bench:__rand_int__"],
        &["0123456789abcdef"],
        &[PIPELINED, SINGLE],
    ),
    (
        "rate_limit",
        &["ratelimit:__rand_int__"],
        &["1000000000", "60"],
        &[PIPELINED, SINGLE],
    ),
    (
        "validate_user",
        &["user:__rand_int__"],
        &[r#"{"action":"login"}"#],
        &[PIPELINED, SINGLE],
    ),
    ("sum", &[], &["1000000"], &[ALONE]),
];

/// The workloads that write, which are measured on disk too.
pub(in crate::bench) const WRITING: &[&str] = &["set", "get_set", "rate_limit", "validate_user"];

/// Number of users to validate: one for each key of the load.
const USERS: u32 = crate::bench::load::KEYS;

/// Kinds of isolation, weakest first; each that the server supports is a contender of its own.
pub(in crate::bench) const ISOLATIONS: &[&str] = &["reuse", "rewind", "fresh"];

pub(in crate::bench) const PERMISSIONS: &str = r#"{"allowed_keys":["bench:*","ratelimit:*","user:*"],"allowed_commands":["GET","SET","INCR","INCRBY","EXPIRE","HGETALL","HINCRBY","HSET"],"allow_write":true}"#;

/// One turn of the plan: a contender, a workload, and the command to send.
struct Turn {
    workload: &'static str,
    contender: &'static str,
    shape: Shape,
    durability: Durability,
    command: Vec<String>,
    on_valkey: bool,
}

/// Two servers that do the same with their disks.
struct Pair {
    ferrite: Server,
    valkey: Server,
}

impl Pair {
    fn start(
        workspace: &Workspace,
        profile: BuildProfile,
        folder: &Path,
        durability: Durability,
    ) -> Result<Self> {
        crate::bench::empty(folder)?;
        Ok(Self {
            valkey: valkey::start_keeping(workspace, folder, durability)?,
            ferrite: start_keeping(workspace, profile, folder, durability)?,
        })
    }

    fn server(&self, on_valkey: bool) -> &Server {
        if on_valkey {
            &self.valkey
        } else {
            &self.ferrite
        }
    }

    fn stop(self) -> Result<()> {
        self.ferrite.stop()?;
        self.valkey.stop()
    }
}

/// Measures everything, each contender once a round.
///
/// # Errors
/// If a server does not start or a call fails.
pub(in crate::bench) fn measure(
    workspace: &Workspace,
    profile: BuildProfile,
    rounds: usize,
    seconds: f64,
) -> Result<Socket> {
    let generator = Generator::find()?;
    let folder = workspace.target.join("bench/socket");
    let pair =
        |name: &str, durability| Pair::start(workspace, profile, &folder.join(name), durability);
    let (memory, disk) = (
        pair("memory", Durability::Memory)?,
        pair("disk", Durability::Everysec)?,
    );
    let mut isolations = Vec::new();
    for pair in [&memory, &disk] {
        isolations = load_functions(workspace, &pair.ferrite)?;
        register_users(&pair.ferrite);
        register_users(&pair.valkey);
    }
    let server = |turn: &Turn| match turn.durability {
        Durability::Memory => memory.server(turn.on_valkey),
        Durability::Everysec => disk.server(turn.on_valkey),
    };
    let plan = plan(&isolations);
    for turn in &plan {
        must_succeed(server(turn), &turn.command)?;
    }

    let row = |turn: &Turn| Row {
        workload: turn.workload.to_owned(),
        contender: turn.contender.to_owned(),
        shape: turn.shape,
        durability: turn.durability,
        rates: Figures::default(),
        processor: Figures::default(),
    };
    let mut rows: Vec<Row> = plan.iter().map(row).collect();
    for round in 1..=rounds {
        for (turn, row) in plan.iter().zip(&mut rows) {
            let server = server(turn);
            let before = server.processor_seconds()?;
            let counted = generator.counted(server, turn.shape, &turn.command, seconds)?;
            let processor = server.processor_seconds()? - before;
            let rate = counted.last.rate;
            let Shape {
                connections,
                pipeline,
            } = turn.shape;
            println!(
                "{round}/{rounds}  {:<12} {:<8} -c {connections:<2} -P {pipeline:<2} {:<8} {rate:>12.0}/s",
                turn.workload,
                turn.contender,
                match turn.durability {
                    Durability::Memory => "memory",
                    Durability::Everysec => "everysec",
                }
            );
            row.rates.push(rate);
            row.processor
                .push(processor * 1e6 / counted.requests as f64);
        }
    }
    let valkey_version = valkey::version(&memory.valkey);
    memory.stop()?;
    disk.stop()?;
    Ok(Socket {
        valkey_version,
        rows,
    })
}

/// Starts the server with an empty store in memory, and only warnings in its log.
pub(in crate::bench) fn start(
    workspace: &Workspace,
    profile: BuildProfile,
    folder: &Path,
) -> Result<Server> {
    start_keeping(workspace, profile, folder, Durability::Memory)
}

fn start_keeping(
    workspace: &Workspace,
    profile: BuildProfile,
    folder: &Path,
    durability: Durability,
) -> Result<Server> {
    let binary = binaries::server(workspace, profile)?;
    let wasmc = binaries::wasmc(workspace, profile)?;
    let port = free_port()?;
    let mut command = workspace.command(binary);
    if durability == Durability::Memory {
        command.args(["--store-persistent", "false"]);
    }
    command
        // The sum of a million numbers needs more fuel than the default allows.
        .args(["--wasm-limits-max-fuel", "1000000000"])
        .args(["--log", "warn", "--port", &port.to_string(), "--dir"])
        .arg(folder);
    command.arg("--wasm-compiler").arg(wasmc);
    Server::start(&mut command, port, &folder.join("ferrite.log"))
}

/// Loads every function with every isolation that the server supports, and returns these
/// isolations.
pub(in crate::bench) fn load_functions(
    workspace: &Workspace,
    server: &Server,
) -> Result<Vec<&'static str>> {
    let mut isolations = ISOLATIONS.to_vec();
    let mut client = server.client();
    for (name, ..) in WORKLOADS {
        let source = source(workspace, name)?;
        isolations.retain(|isolation| {
            let name = function(name, isolation);
            let options = [
                "PERMISSIONS",
                PERMISSIONS,
                "ISOLATION",
                isolation,
                "REPLACE",
            ];
            let mut command = vec![b"WASM.LOAD".to_vec(), name.into_bytes(), source.clone()];
            command.extend(options.map(|option| option.as_bytes().to_vec()));
            let reply = client.call(&command);
            if let Reply::Error(error) = &reply {
                println!("note: isolation {isolation} takes no part: {error}");
            }
            reply.error().is_none()
        });
    }
    anyhow::ensure!(
        !isolations.is_empty(),
        "the server takes the functions under no isolation at all"
    );
    Ok(isolations)
}

/// Writes the users to validate, under the keys that the load's random numbers make.
pub(in crate::bench) fn register_users(server: &Server) {
    let mut client = server.client();
    for user in 0..USERS {
        let key = format!("user:{user:012}");
        client.call(&["HSET", &key, "status", "active", "role", "editor"]);
    }
}

/// Returns the module of a function of the benchmarks or of an example.
pub(in crate::bench) fn source(workspace: &Workspace, name: &str) -> Result<Vec<u8>> {
    let text = workspace
        .root
        .join("benches/functions")
        .join(name)
        .with_extension("wat");
    if text.is_file() {
        return Ok(wat::parse_file(&text)?);
    }
    let built = examples::build(workspace)?
        .into_iter()
        .find(|function| function.name == name);
    let built =
        built.with_context(|| format!("{name} is neither in benches/functions nor in examples"))?;
    std::fs::read(&built.source).with_context(|| format!("cannot read {}", built.source.display()))
}

pub(in crate::bench) fn function(name: &str, isolation: &str) -> String {
    format!("{name}-{isolation}")
}

fn plan(isolations: &[&'static str]) -> Vec<Turn> {
    let mut plan = plan_of(isolations, Durability::Memory);
    let disk = plan_of(isolations, Durability::Everysec);
    plan.extend(
        disk.into_iter()
            .filter(|turn| WRITING.contains(&turn.workload)),
    );
    plan
}

fn plan_of(isolations: &[&'static str], durability: Durability) -> Vec<Turn> {
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let mut plan = Vec::new();
    for shape in [PIPELINED, SINGLE] {
        for (workload, command) in [
            ("ping", words(&["PING"])),
            ("get", words(&["GET", "bench:__rand_int__"])),
            (
                "set",
                words(&["SET", "bench:__rand_int__", "0123456789abcdef"]),
            ),
        ] {
            for (contender, on_valkey) in [("ferrite", false), ("valkey", true)] {
                plan.push(Turn {
                    workload,
                    contender,
                    shape,
                    durability,
                    command: command.clone(),
                    on_valkey,
                });
            }
        }
    }
    for (workload, _, _, shapes) in WORKLOADS {
        for shape in *shapes {
            let mut turn = |contender, command, on_valkey| {
                plan.push(Turn {
                    workload,
                    contender,
                    shape: *shape,
                    durability,
                    command,
                    on_valkey,
                });
            };
            for contender in isolations {
                let [wasm, _] = commands(workload, &function(workload, contender));
                turn(contender, wasm, false);
            }
            let [_, lua] = commands(workload, workload);
            turn("lua", lua, true);
        }
    }
    plan
}

/// Commands that call the function `name` with a workload's input, and the script of that workload.
pub(in crate::bench) fn commands(workload: &str, name: &str) -> [Vec<String>; 2] {
    let (keys, arguments) = WORKLOADS
        .iter()
        .find(|(name, ..)| *name == workload)
        .map_or(
            (&[] as &[&str], &[] as &[&str]),
            |(_, keys, arguments, _)| (*keys, *arguments),
        );
    let count = keys.len().to_string();
    let mut wasm = vec!["WASM.CALL", name];
    for (word, values) in [("KEYS", keys), ("ARGS", arguments)] {
        if !values.is_empty() {
            wasm.push(word);
            wasm.extend(values);
        }
    }
    let lua = [&["FCALL", workload, &count], keys, arguments].concat();
    [wasm, lua].map(|words| words.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writes_is_measured_on_disk_too() {
        let plan = plan(&["fresh"]);
        for (workload, on_disk) in [("set", true), ("rate_limit", true), ("noop", false)] {
            for contender in ["fresh", "lua", "ferrite", "valkey"] {
                let turns = |durability| {
                    let is_it = |turn: &&Turn| {
                        turn.workload == workload
                            && turn.contender == contender
                            && turn.durability == durability
                    };
                    plan.iter().filter(is_it).count()
                };
                let memory = turns(Durability::Memory);
                let expected = if on_disk { memory } else { 0 };
                assert_eq!(
                    turns(Durability::Everysec),
                    expected,
                    "{workload} {contender}"
                );
            }
        }
    }

    #[test]
    fn both_sides_are_asked_for_the_same() {
        let plan = plan(&["fresh"]);
        let command = |contender: &str, workload: &str| {
            let turn = plan
                .iter()
                .find(|turn| turn.contender == contender && turn.workload == workload);
            turn.unwrap().command.join(" ")
        };
        assert_eq!(command("fresh", "noop"), "WASM.CALL noop-fresh");
        assert_eq!(command("lua", "noop"), "FCALL noop 0");
        let arguments = "1000000000 60";
        assert_eq!(
            command("fresh", "rate_limit"),
            format!("WASM.CALL rate_limit-fresh KEYS ratelimit:__rand_int__ ARGS {arguments}")
        );
        assert_eq!(
            command("lua", "rate_limit"),
            format!("FCALL rate_limit 1 ratelimit:__rand_int__ {arguments}")
        );
    }
}
