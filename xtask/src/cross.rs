//! `cargo xtask cross`: builds the programs for Linux on arm64 on another machine, and runs the
//! tests there that an emulator can run.
//!
//! zig is the C compiler and the linker. What is built needs glibc 2.31 or later.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::binaries::BuildProfile;
use crate::run::{self, heading};
use crate::tools::Python;
use crate::tools::guest_rustc;
use crate::tools::trixie::{cross_rustc, emulator};
use crate::workspace::Workspace;

/// The options of `cross`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The profile to build with
    #[arg(long, value_enum, default_value_t = BuildProfile::Dev)]
    profile: BuildProfile,
    /// Only build the programs; run no test
    #[arg(long)]
    build: bool,
}

/// The target that is built for.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The oldest glibc that the programs run with: that of Debian 11 and Ubuntu 20.04.
const GLIBC: &str = "2.31";

/// The programs, each built by an invocation of its own, as for this machine.
const PROGRAMS: [&[&str]; 3] = [
    &["--package", "ferrite-server", "--bin", "ferrite-server"],
    &["--package", "ferrite-valkey", "--lib"],
    &["--package", "ferrite-wasmc", "--bin", "ferrite-wasmc"],
];

/// Crates whose tests run under the emulator.
const TESTED: [&str; 5] = [
    "ferrite-cache",
    "ferrite-protocol",
    "ferrite-runtime",
    "ferrite-store",
    "ferrite-wasm-abi",
];

/// Builds the programs, and runs the tests.
///
/// # Errors
/// If a tool is missing, a program does not build, or a test fails.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    heading("Look for a compiler");
    let cross = Cross::find(workspace)?;
    heading("Build the programs");
    for program in PROGRAMS {
        let mut build = cross.cargo("build");
        run::run(
            build
                .args(["--profile", options.profile.name()])
                .args(program),
        )?;
    }
    let out = cross.target.join(TARGET);
    println!("{}", workspace.shown(&out).display());
    if options.build {
        return Ok(());
    }
    heading("Run tests under an emulator");
    let emulator = emulator::ensure(workspace)?;
    let mut test = cross.cargo("test");
    test.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", emulator);
    for package in TESTED {
        test.args(["--package", package]);
    }
    run::run(test.args(["--lib", "--bins", "--tests", "--no-fail-fast"]))
}

/// The tools to build with.
struct Cross<'w> {
    workspace: &'w Workspace,
    /// A compiler that has the target's standard library.
    rustc: PathBuf,
    /// Folder of `cargo-zigbuild` and its Python.
    tools: PathBuf,
    /// Cargo's target folder: apart from the other builds, which another compiler makes.
    target: PathBuf,
}

impl<'w> Cross<'w> {
    fn find(workspace: &'w Workspace) -> Result<Self> {
        let rustc = match guest_rustc::with_target(workspace, TARGET)? {
            Some(rustc) => rustc,
            None => cross_rustc::ensure(workspace).with_context(|| {
                format!(
                    "the Rust compiler has no standard library for {TARGET}; install it with \
                     `rustup target add {TARGET}`"
                )
            })?,
        };
        let python = Python::packaging(workspace)?;
        let tools = python
            .interpreter
            .parent()
            .context("the Python is in no folder")?;
        Ok(Self {
            workspace,
            rustc,
            tools: tools.to_owned(),
            target: workspace.target.join("cross"),
        })
    }

    /// A subcommand of cargo for the target.
    fn cargo(&self, subcommand: &str) -> Command {
        let mut command = self.workspace.command(self.tools.join("cargo-zigbuild"));
        command
            .args([subcommand, "--target"])
            .arg(format!("{TARGET}.{GLIBC}"))
            .arg("--target-dir")
            .arg(&self.target)
            .env("RUSTC", &self.rustc);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.tools.clone()).chain(std::env::split_paths(&path));
        if let Ok(path) = std::env::join_paths(folders) {
            command.env("PATH", path);
        }
        command
    }
}
