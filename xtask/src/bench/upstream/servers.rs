//! Servers in front of one engine, and what they count.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrite_tests::Reply;

use super::{COMPUTING, IN_SERVER, SCALING_CONNECTIONS, command};
use crate::bench::load::{Generator, Shape, must_succeed};
use crate::bench::socket::SINGLE;
use crate::server::{Server, free_port};
use crate::workspace::Workspace;

/// Longest time until every load has begun.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// The built programs.
pub(super) struct Programs {
    pub(super) server: PathBuf,
    pub(super) wasmc: PathBuf,
}

impl Programs {
    /// Starts a server in front of the engine.
    pub(super) fn start(
        &self,
        workspace: &Workspace,
        folder: &Path,
        engine: &Server,
        number: usize,
        more: &[&str],
    ) -> Result<Server> {
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
            self.wasmc.clone().into(),
        ];
        let mut command = workspace.command(&self.server);
        command.args(arguments).args(more).arg("--dir").arg(&folder);
        Server::start(&mut command, port, &folder.join("ferrite.log"))
    }
}

/// Waits until something is so.
pub(super) fn wait_for(mut is_so: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > BEGIN_TIMEOUT {
            bail!("the servers were not ready within {BEGIN_TIMEOUT:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Calls of the computing function that a server has answered so far, and how many of them failed.
pub(super) fn calls(server: &Server) -> Result<(i64, i64)> {
    let name = COMPUTING.name;
    Ok((
        count(server, name, "calls")?,
        count(server, name, "errors")?,
    ))
}

/// One of the counters that a server has of a function.
pub(super) fn count(server: &Server, function: &str, counter: &str) -> Result<i64> {
    let info = must_succeed(server, &["WASM.INFO", function])?;
    let count = info.at(counter).and_then(Reply::int);
    count.with_context(|| format!("WASM.INFO does not tell {counter}"))
}

/// Rate at which several servers together answer calls of the computing function, all in one span of time in
/// which every load runs. The servers count the calls.
pub(super) fn rate_of_all(generator: &Generator, servers: &[Server], seconds: f64) -> Result<f64> {
    let command = command(IN_SERVER, &COMPUTING, "");
    let shape = Shape {
        connections: SCALING_CONNECTIONS / servers.len() as u32,
        pipeline: SINGLE.pipeline,
    };
    let counts = || -> Result<Vec<(Instant, i64, i64)>> {
        let count = |server: &Server| {
            let (calls, errors) = calls(server)?;
            Ok((Instant::now(), calls, errors))
        };
        servers.iter().map(count).collect()
    };
    let idle = counts()?;
    let loads = servers
        .iter()
        .map(|server| generator.endless(server, shape, &command))
        .collect::<Result<Vec<_>>>()?;
    for (server, (_, calls_before, _)) in servers.iter().zip(&idle) {
        let warm = calls_before + 2 * i64::from(shape.connections);
        wait_for(|| calls(server).is_ok_and(|(calls, _)| calls > warm))?;
    }
    let before = counts()?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = counts()?;
    drop(loads);
    let mut sum = 0.0;
    for (before, after) in before.iter().zip(&after) {
        if after.2 > before.2 {
            bail!("{} of the calls failed", after.2 - before.2);
        }
        let calls = (after.1 - before.1) as f64;
        sum += calls / after.0.duration_since(before.0).as_secs_f64();
    }
    Ok(sum)
}
