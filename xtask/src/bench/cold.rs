//! Cold starts: starting the server, loading functions, and the memory of idle functions.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use ferrite_benches::modules::{Size, generated};
use ferrite_tests::Client;
use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::load::must_succeed;
use crate::binaries::{self, BuildProfile};
use crate::examples;
use crate::server::{Server, free_port};
use crate::wasmc;
use crate::workspace::Workspace;

/// The example that represents functions in real languages: Rust with an allocator, so that
/// its memory grows.
const REAL: &str = "aggregate_stats";

/// Number of copies of it to load.
const REAL_COUNT: u64 = 60;

/// Number of starts of the server.
const STARTS: usize = 20;

/// The figures of this part.
#[derive(Serialize, Deserialize)]
pub(super) struct Cold {
    /// From the start of the process to the first connection, in milliseconds.
    pub(super) up: Figures,
    /// From the start of the process to the first reply of a function out of the cache.
    pub(super) first_reply: Figures,
    pub(super) loads: Vec<Loads>,
    /// Memory of the server before its first call.
    pub(super) idle_kib: u64,
    /// Memory that each further function adds after it was loaded and called once.
    pub(super) function_kib: f64,
    pub(super) binary_bytes: u64,
}

/// First calls of functions that the running server has never seen.
#[derive(Serialize, Deserialize)]
pub(super) struct Loads {
    pub(super) size: String,
    pub(super) artifact_bytes: u64,
    /// `WASM.LOAD` by digest, in milliseconds.
    pub(super) load: Figures,
    /// The first call after it.
    pub(super) call: Figures,
    /// Both together.
    pub(super) both: Figures,
    /// The first call of a function that the registry remembered when the server started.
    pub(super) remembered: Figures,
}

/// # Errors
/// If something does not build, start or answer.
pub(super) fn measure(workspace: &Workspace, profile: BuildProfile) -> Result<Cold> {
    let server = binaries::server(workspace, profile)?;
    let wasmc = binaries::wasmc(workspace, profile)?;
    let folder = workspace.target.join("bench/cold");
    // Each step has its own cache and registry.
    let step = |name: &str| {
        let folder = folder.join(name);
        super::empty(&folder)?;
        anyhow::Ok(Bench {
            workspace,
            server: &server,
            wasmc: &wasmc,
            folder,
        })
    };
    let (up, first_reply) = step("starts")?.starts()?;
    let (idle_kib, function_kib) = step("memory")?.memory()?;
    let mut loads = Vec::new();
    for size in Size::ALL {
        loads.push(step(size.name())?.loads(&Kind::generated(size), count(size))?);
    }
    for function in examples::build(workspace)? {
        if function.name == REAL {
            let kind = Kind::real(std::fs::read(&function.source)?);
            loads.push(step(REAL)?.loads(&kind, REAL_COUNT)?);
        }
    }
    let binary_bytes = std::fs::metadata(&server)?.len();
    Ok(Cold {
        up,
        first_reply,
        loads,
        idle_kib,
        function_kib,
        binary_bytes,
    })
}

/// Modules that differ only in a number in a custom section.
struct Kind {
    name: &'static str,
    /// The entry to call, with a point before it; empty for modules that have one entry.
    entry: &'static str,
    /// Arguments of a call.
    args: &'static [&'static str],
    make: Box<dyn Fn(u64) -> Vec<u8>>,
}

impl Kind {
    fn generated(size: Size) -> Self {
        Self {
            name: size.name(),
            entry: "",
            args: &["1"],
            make: Box::new(move |salt| generated(size, salt)),
        }
    }

    /// The example, with a custom section after the others.
    fn real(wasm: Vec<u8>) -> Self {
        Self {
            name: REAL,
            entry: ".aggregate_stats",
            args: &["stats:*", "2026-01-01", "2026-12-31"],
            make: Box::new(move |salt| {
                let mut salted = wasm.clone();
                salted.extend_from_slice(b"\0\x0d\x04salt");
                salted.extend_from_slice(&salt.to_le_bytes());
                salted
            }),
        }
    }

    /// Calls one of these functions.
    ///
    /// # Errors
    /// If the reply is an error.
    fn call(&self, client: &mut Client, function: &str) -> Result<()> {
        let name = format!("{function}{}", self.entry);
        let reply = client.call(&[&["WASM.CALL", &name, "ARGS"], self.args].concat());
        match reply.error() {
            None => Ok(()),
            Some(error) => anyhow::bail!("a first call was answered with: {error}"),
        }
    }
}

struct Bench<'a> {
    workspace: &'a Workspace,
    server: &'a Path,
    wasmc: &'a Path,
    folder: PathBuf,
}

/// Number of modules of a size to load; compiling a large one takes seconds.
fn count(size: Size) -> u64 {
    match size {
        Size::Small | Size::Middle => 200,
        Size::Large => 30,
    }
}

impl Bench<'_> {
    fn start(&self) -> Result<Server> {
        let port = free_port()?;
        let mut command = self.workspace.command(self.server);
        command
            .args(["--log", "warn", "--port", &port.to_string(), "--dir"])
            .arg(&self.folder);
        Server::start(&mut command, port, &self.folder.join("server.log"))
    }

    /// Compiles modules that no run has seen into the server's cache; returns their digests and the
    /// size of one.
    fn modules(&self, kind: &Kind, count: u64, salt: u64) -> Result<(Vec<String>, u64)> {
        let mut files: Vec<PathBuf> = Vec::new();
        for index in 0..count {
            let file = self
                .folder
                .join(format!("{}-{salt}-{index}.wasm", kind.name));
            std::fs::write(&file, (kind.make)((salt << 32) | index))?;
            files.push(file);
        }
        println!("compiling {count} modules, {} ones", kind.name);
        let compiled = wasmc::compile(
            self.workspace,
            self.wasmc,
            &self.folder.join("cache/wasm"),
            &files,
        )?;
        let bytes = compiled
            .first()
            .map_or(0, |compiled| compiled.artifact_bytes);
        Ok((
            compiled
                .into_iter()
                .map(|compiled| compiled.source)
                .collect(),
            bytes,
        ))
    }

    /// Starts servers that remember the function, so that its first call loads it.
    fn starts(&self) -> Result<(Figures, Figures)> {
        let small = Kind::generated(Size::Small);
        let (digests, _) = self.modules(&small, 1, 1)?;
        let server = self.start()?;
        first_call(&server, "f", &digests[0], &small)?;
        server.stop()?;
        let (mut ups, mut replies) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let start = Instant::now();
            let server = self.start()?;
            ups.push(start.elapsed());
            must_succeed(&server, &["WASM.CALL", "f", "ARGS", "1"].map(str::to_owned))?;
            replies.push(start.elapsed());
            server.stop()?;
        }
        let (ups, replies) = (Figures::milliseconds(ups), Figures::milliseconds(replies));
        println!(
            "up after {:.2} ms, first reply after {:.2} ms",
            ups.median(),
            replies.median()
        );
        Ok((ups, replies))
    }

    fn loads(&self, kind: &Kind, count: u64) -> Result<Loads> {
        let (digests, artifact_bytes) = self.modules(kind, count, 2)?;
        let server = self.start()?;
        // The first load of a process pays for setup that all later ones share.
        let (first, _) = self.modules(kind, 1, 3)?;
        first_call(&server, "first", &first[0], kind)?;
        let mut times = Vec::new();
        for (index, digest) in digests.iter().enumerate() {
            let name = format!("f{index}");
            times.push(first_call(&server, &name, digest, kind)?);
        }
        server.stop()?;
        let remembered = self.remembered(digests.len(), kind)?;
        let loads = Loads {
            size: kind.name.to_owned(),
            artifact_bytes,
            load: Figures::milliseconds(times.iter().map(|(load, _)| *load)),
            call: Figures::milliseconds(times.iter().map(|(_, call)| *call)),
            both: Figures::milliseconds(times.iter().map(|(load, call)| *load + *call)),
            remembered,
        };
        println!(
            "{}: load and first call {:.3} ms, first call of one remembered {:.3} ms",
            loads.size,
            loads.both.median(),
            loads.remembered.median()
        );
        Ok(loads)
    }

    /// First calls of the functions `f0`, `f1` and so on, by a freshly started server.
    fn remembered(&self, count: usize, kind: &Kind) -> Result<Figures> {
        let server = self.start()?;
        let mut client = server.client();
        // The first load of a process pays for setup that all later ones share.
        kind.call(&mut client, "first")?;
        let times: Result<Vec<Duration>> = (0..count)
            .map(|index| {
                let start = Instant::now();
                kind.call(&mut client, &format!("f{index}"))?;
                Ok(start.elapsed())
            })
            .collect();
        server.stop()?;
        Ok(Figures::milliseconds(times?))
    }

    fn memory(&self) -> Result<(u64, f64)> {
        const FUNCTIONS: u64 = 200;
        let small = Kind::generated(Size::Small);
        let (digests, _) = self.modules(&small, FUNCTIONS, 4)?;
        let server = self.start()?;
        must_succeed(&server, &["PING".to_owned()])?;
        let idle = server.memory_kib("VmRSS")?;
        for (index, digest) in digests.iter().enumerate() {
            first_call(&server, &format!("f{index}"), digest, &small)?;
        }
        let more = server.memory_kib("VmRSS")?.saturating_sub(idle);
        server.stop()?;
        println!("idle {idle} KiB, {more} KiB for {FUNCTIONS} functions");
        Ok((idle, more as f64 / FUNCTIONS as f64))
    }
}

/// Loads a function by digest and calls it once; returns the client's times of both.
fn first_call(
    server: &Server,
    name: &str,
    digest: &str,
    kind: &Kind,
) -> Result<(Duration, Duration)> {
    let mut client = server.client();
    let start = Instant::now();
    let loaded = client.call(&["WASM.LOAD", name, digest, "REPLACE"]);
    let load = start.elapsed();
    if let Some(error) = loaded.error() {
        anyhow::bail!("a load was answered with: {error}");
    }
    kind.call(&mut client, name)?;
    Ok((load, start.elapsed() - load))
}
