//! Runs the compiler's command line for the tasks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::run;
use crate::workspace::Workspace;

/// A compiled module.
#[derive(Deserialize)]
pub(crate) struct Compiled {
    /// The digest of its source, `blake3:…`.
    pub(crate) source: String,
    pub(crate) artifact_bytes: u64,
}

/// Returns the command `ferrite-wasmc compile` for these files and this cache. It runs in the root
/// folder, with paths relative to it.
pub(crate) fn compile_command(
    workspace: &Workspace,
    wasmc: &Path,
    cache: &Path,
    files: &[PathBuf],
) -> Command {
    let mut command = workspace.command(wasmc);
    command
        .arg("compile")
        .arg("--cache")
        .arg(workspace.shown(cache));
    command.args(files.iter().map(|file| workspace.shown(file)));
    command
}

/// Compiles modules into a cache, and returns a result for each, in the order of the files.
///
/// # Errors
/// If one is refused.
pub(crate) fn compile(
    workspace: &Workspace,
    wasmc: &Path,
    cache: &Path,
    files: &[PathBuf],
) -> Result<Vec<Compiled>> {
    #[derive(Deserialize)]
    struct Report {
        files: Vec<File>,
    }
    #[derive(Deserialize)]
    struct File {
        done: Compiled,
    }
    let printed = run::output(compile_command(workspace, wasmc, cache, files).arg("--json"))?;
    let report: Report = serde_json::from_str(&printed)
        .context("`ferrite-wasmc compile --json` printed something else than its report")?;
    if report.files.len() != files.len() {
        bail!(
            "{} modules were compiled, not {}",
            report.files.len(),
            files.len()
        );
    }
    Ok(report.files.into_iter().map(|file| file.done).collect())
}
