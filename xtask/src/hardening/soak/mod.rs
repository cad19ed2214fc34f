//! `cargo xtask soak`: everything at once for a long time, while the process's memory, mappings, open
//! files and threads are watched.
//!
//! Clients write, read and expire data, call and replace functions, misbehave, and come and go. Every
//! few seconds a line goes into `target/soak/soak.csv`; at the end `target/soak/soak.svg` shows the
//! curves, and a curve that still rises fails the task.

mod load;
mod plot;
mod sample;

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::binaries::{self, BuildProfile};
use crate::server::{Server, free_port};
use crate::workspace::Workspace;
use load::{Counts, Kind};
use sample::Sample;

/// Options of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Length, in minutes
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Seconds between two samples
    #[arg(long, default_value_t = 5.0)]
    every: f64,
    /// Build of the programs
    #[arg(long, value_enum, default_value_t = BuildProfile::Release)]
    profile: BuildProfile,
    /// Milliseconds for which each client rests after a round, on a machine that has other work
    #[arg(long, default_value_t = 0)]
    rest: u64,
    /// Clients of these kinds alone
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    /// Take the programs that were built before
    #[arg(long)]
    no_build: bool,
}

/// Time at the start in which caches and pools fill, as a share of the whole.
const WARM_UP: f64 = 0.3;

/// Runs the load, and fails if anything grew or the server did not end in order.
///
/// # Errors
/// If the programs do not build or start, the server ends, or a curve rises.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let folder = binaries::folder(workspace, options.profile);
    let (program, compiler) = if options.no_build {
        (folder.join("ferrite-server"), folder.join("ferrite-wasmc"))
    } else {
        (
            binaries::server(workspace, options.profile)?,
            binaries::wasmc(workspace, options.profile)?,
        )
    };
    let out = workspace.target.join("soak");
    let data = out.join("server");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir_all(&data)?;
    let port = free_port()?;
    let mut command = Command::new(&program);
    command
        .args(["--port", &port.to_string(), "--dir"])
        .arg(&data)
        .arg("--wasm-compiler")
        .arg(&compiler)
        // Small, so that eviction and waiting for the disk take part.
        .args([
            "--wasm-cache-max-cache-size",
            "1MB",
            "--store-max-write-queue",
            "4MB",
        ])
        .args(["--log", "warn"]);
    let server = Server::start(&mut command, port, &out.join("server.log"))?;
    println!(
        "{} minutes; samples in {}",
        options.minutes,
        out.join("soak.csv").display()
    );

    let counts = Counts::default();
    let stop = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        let rest = Duration::from_millis(options.rest);
        let chosen = |kind: &Kind| options.only.is_empty() || options.only.contains(kind);
        for kind in Kind::ALL.into_iter().filter(chosen) {
            let (address, counts, stop) = (server.address(), &counts, &stop);
            scope.spawn(move || load::run(kind, address, rest, counts, stop));
        }
        let samples = watch(&server, options, &counts, &out.join("soak.csv"));
        stop.store(true, Ordering::Relaxed);
        samples
    });
    let samples = ended?;
    fs::write(out.join("soak.svg"), plot::draw(&samples))?;
    server.stop()?;
    println!("{counts}");
    judge(&samples)
}

/// Samples until the time is over, and writes each sample into a file.
fn watch(
    server: &Server,
    options: &Options,
    counts: &Counts,
    path: &std::path::Path,
) -> Result<Vec<Sample>> {
    let start = Instant::now();
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let every = Duration::from_secs_f64(options.every);
    let mut samples = Vec::new();
    let mut text = format!("{}\n", Sample::HEAD);
    while start.elapsed() < length {
        std::thread::sleep(every.min(length.saturating_sub(start.elapsed())));
        let sample = Sample::take(server.id(), start.elapsed(), counts.total())
            .context("the server has ended; see its log in target/soak/server.log")?;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{sample}");
        fs::write(path, &text)?;
        samples.push(sample);
    }
    Ok(samples)
}

/// Compares the middle of the run with its end.
fn judge(samples: &[Sample]) -> Result<()> {
    let warm = &samples[(samples.len() as f64 * WARM_UP) as usize..];
    let third = warm.len() / 3;
    if third == 0 {
        println!("too few samples to say whether anything grows");
        return Ok(());
    }
    let mut grown = Vec::new();
    for (name, value, slack) in Sample::CURVES {
        let high = |part: &[Sample]| part.iter().map(value).fold(0.0, f64::max);
        let (early, late) = (high(&warm[..third]), high(&warm[warm.len() - third..]));
        println!("{name:<14} at most {early:>12.0} in the first third, {late:>12.0} in the last");
        if late > early * 1.1 + slack {
            grown.push(name);
        }
    }
    if !grown.is_empty() {
        bail!("still growing after the warm-up: {}", grown.join(", "));
    }
    Ok(())
}
