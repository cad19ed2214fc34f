//! The project's own binaries, the lean ones built by cargo invocations of their own.
//!
//! Cargo unites the features of all packages that one invocation builds: a server built together
//! with the compiler would hold the compiler. A later invocation replaces the binaries of an
//! earlier one, so each binary is copied to `target/bin/` right after its build.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;
use crate::workspace::Workspace;

/// The module's library.
pub(crate) const MODULE: &str = "libferrite_valkey.so";

/// The server's package and binary.
const SERVER: &str = "ferrite-server";

/// The compiler's package and binary.
const WASMC: &str = "ferrite-wasmc";

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
    run::run(&mut cargo_build(workspace, profile, &[SERVER]))?;
    keep(workspace, profile, SERVER)
}

/// Builds the compiler's command line and copies it beside the server, which looks for it there.
///
/// The dev profile takes it from the build of the whole workspace with its tests. That differs from a
/// build of its own in features of a few small crates, below which everything would be compiled twice.
///
/// # Errors
/// If it does not build.
pub(crate) fn wasmc(workspace: &Workspace, profile: BuildProfile) -> Result<PathBuf> {
    if profile == BuildProfile::Dev {
        run::run(&mut workspace.cargo(["test", "--workspace", "--no-run"]))?;
        return keep(workspace, profile, WASMC);
    }
    run::run(&mut cargo_build(workspace, profile, &[WASMC]))?;
    keep(workspace, profile, WASMC)
}

/// Builds the server and the compiler's command line by one invocation, in two thirds of the time of two.
///
/// This server holds the compiler's features and is for showing, not for shipping.
///
/// # Errors
/// If one does not build.
pub(crate) fn server_and_wasmc(
    workspace: &Workspace,
    profile: BuildProfile,
) -> Result<(PathBuf, PathBuf)> {
    run::run(&mut cargo_build(workspace, profile, &[SERVER, WASMC]))?;
    Ok((
        keep(workspace, profile, SERVER)?,
        keep(workspace, profile, WASMC)?,
    ))
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

/// The command that builds these packages' binaries, which have the packages' names.
fn cargo_build(workspace: &Workspace, profile: BuildProfile, packages: &[&str]) -> Command {
    let mut command = workspace.cargo(["build", "--profile", profile.name(), "--bins"]);
    for package in packages {
        command.args(["--package", package]);
    }
    command
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
