//! Compiling through the command line, compared with wasmtime's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use ferrite_benches::modules::{Size, generated};
use serde::{Deserialize, Serialize};

use super::figures::Figures;
use crate::binaries::{self, BuildProfile};
use crate::examples;
use crate::run;
use crate::tools;
use crate::wasmc;
use crate::workspace::Workspace;

/// Number of turns of each compiler.
const ROUNDS: usize = 7;

/// The figures of this part.
#[derive(Serialize, Deserialize)]
pub(super) struct Compile {
    /// Output of `wasmtime --version`; `None` if the program is not available.
    pub(super) wasmtime: Option<String>,
    pub(super) rows: Vec<Row>,
}

/// Figures of one module; times of whole processes, in milliseconds.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) module: String,
    pub(super) source_bytes: u64,
    /// Compiling into an empty cache, publishing included.
    pub(super) ours: Figures,
    /// Compiling again, with the artifact in the cache.
    pub(super) cached: Figures,
    /// `wasmtime compile` with the same metering.
    pub(super) wasmtimes: Figures,
}

/// # Errors
/// If something does not build or a module is refused.
pub(super) fn measure(workspace: &Workspace, profile: BuildProfile) -> Result<Compile> {
    let wasmc = binaries::wasmc(workspace, profile)?;
    let wasmtime = wasmtime(workspace);
    let folder = workspace.target.join("bench/compile");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let mut rows = Vec::new();
    for (module, file) in modules(workspace, &folder)? {
        let source_bytes = std::fs::metadata(&file)?.len();
        let (mut ours, mut cached, mut wasmtimes) = (Vec::new(), Vec::new(), Vec::new());
        let cache = folder.join("cache");
        let compile =
            || wasmc::compile_command(workspace, &wasmc, &cache, std::slice::from_ref(&file));
        // A first run, so that no measured run pays for reading the program from disk.
        quietly(&mut compile())?;
        for _ in 0..ROUNDS {
            clear(&cache)?;
            ours.push(quietly(&mut compile())?);
            cached.push(quietly(&mut compile())?);
            if let Some(wasmtime) = &wasmtime {
                let mut command = workspace.command(wasmtime);
                command.args([
                    "compile",
                    "-W",
                    "fuel=1000000000",
                    "-W",
                    "epoch-interruption=y",
                    "-o",
                ]);
                command.arg(folder.join("wasmtime.cwasm")).arg(&file);
                // wasmtime meters only with `fuel` given; the number is not compiled in.
                wasmtimes.push(quietly(&mut command)?);
            }
        }
        let row = Row {
            module,
            source_bytes,
            ours: Figures::milliseconds(ours),
            cached: Figures::milliseconds(cached),
            wasmtimes: Figures::milliseconds(wasmtimes),
        };
        let (ours, cached, theirs) = (
            row.ours.median(),
            row.cached.median(),
            row.wasmtimes.median(),
        );
        println!(
            "{}: {ours:.1} ms, cached {cached:.1} ms, wasmtime {theirs:.1} ms",
            row.module
        );
        rows.push(row);
    }
    let version =
        wasmtime.map(|wasmtime| run::output(workspace.command(wasmtime).arg("--version")));
    Ok(Compile {
        wasmtime: version
            .transpose()?
            .map(|version| version.trim().to_owned()),
        rows,
    })
}

/// Removes every file in a cache. Its folders stay, as in a cache that is in use.
fn clear(folder: &Path) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear(&entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn modules(workspace: &Workspace, folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut modules = Vec::new();
    for size in Size::ALL {
        let file = folder.join(size.name()).with_extension("wasm");
        std::fs::write(&file, generated(size, 0))?;
        modules.push((format!("generated, {}", size.name()), file));
    }
    for function in examples::build(workspace)?
        .into_iter()
        .filter(|function| function.name == "json_patch")
    {
        modules.push((function.name, function.source));
    }
    Ok(modules)
}

/// wasmtime's own command line, of the version in the lock file, if it is available.
fn wasmtime(workspace: &Workspace) -> Option<PathBuf> {
    match tools::wasmtime(workspace) {
        Ok(path) => Some(path),
        Err(error) => {
            println!("note: `wasmtime compile` takes no part: {error:#}");
            None
        }
    }
}

fn quietly(command: &mut Command) -> Result<Duration> {
    let (printed, time) = run::timed(|| run::output(command))?;
    drop(printed);
    Ok(time)
}
