//! The project's own binaries, each built by a separate cargo invocation.
//!
//! Cargo unites the features of all packages that one invocation builds: a server built together
//! with the compiler would hold the compiler. A later invocation replaces the binaries of an
//! earlier one, so each binary is copied to `target/bin/` right after its build.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run;
use crate::workspace::Workspace;

/// The module's library.
pub(crate) const MODULE: &str = "libferrite_valkey.so";

/// A cargo profile that binaries are built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BuildProfile {
    /// Quick to build; what the tests use
    Dev,
    /// Half as long to build as a release, and not much slower; what the demo shows
    Demo,
    /// The binaries that are shipped and measured
    Release,
}

impl BuildProfile {
    /// Its name for cargo.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Demo => "demo",
            Self::Release => "release",
        }
    }

    /// The folder below `target/` that cargo builds this profile in.
    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Demo => "demo",
            Self::Release => "release",
        }
    }
}

/// The folder in which binaries of a profile are kept.
pub(crate) fn folder(workspace: &Workspace, profile: BuildProfile) -> PathBuf {
    workspace.target.join("bin").join(profile.name())
}

/// Builds the lean server and returns the path of its copy.
///
/// # Errors
/// If it does not build.
pub(crate) fn server(workspace: &Workspace, profile: BuildProfile) -> Result<PathBuf> {
    build(workspace, profile, "ferrite-server", "ferrite-server")
}

/// Builds the compiler's command line and copies it beside the server, which looks for it there.
///
/// # Errors
/// If it does not build.
pub(crate) fn wasmc(workspace: &Workspace, profile: BuildProfile) -> Result<PathBuf> {
    build(workspace, profile, "ferrite-wasmc", "ferrite-wasmc")
}

/// Builds the module for Valkey and Redis and returns the path of its copy.
///
/// # Errors
/// If it does not build.
pub(crate) fn module(workspace: &Workspace, profile: BuildProfile) -> Result<PathBuf> {
    let arguments = ["build", "--profile", profile.name(), "--package"];
    let mut command = workspace.cargo(arguments);
    run::run(command.args(["ferrite-valkey", "--lib"]))?;
    keep(workspace, profile, MODULE)
}

fn build(
    workspace: &Workspace,
    profile: BuildProfile,
    package: &str,
    binary: &str,
) -> Result<PathBuf> {
    let arguments = [
        "build",
        "--profile",
        profile.name(),
        "--package",
        package,
        "--bin",
        binary,
    ];
    run::run(&mut workspace.cargo(arguments))?;
    keep(workspace, profile, binary)
}

/// Copies a built file to the folder of kept binaries and returns its path.
fn keep(workspace: &Workspace, profile: BuildProfile, file: &str) -> Result<PathBuf> {
    let built = workspace.target.join(profile.folder()).join(file);
    let kept = folder(workspace, profile).join(file);
    put(&built, &kept).with_context(|| format!("cannot put {} aside", built.display()))?;
    Ok(kept)
}

/// Replaces a file by a copy. A process that still runs the old file is not affected.
fn put(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = to.with_extension("new");
    std::fs::copy(from, &new)?;
    std::fs::rename(&new, to)
}
