//! `cargo xtask cross`: builds the programs for Linux on arm64 on another machine, and runs the
//! tests there that an emulator can run; and checks the command line for macOS, as far as types go.
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
    #[arg(long, conflicts_with = "macos")]
    build: bool,
    /// Only check the command line and the SDK for macOS
    #[arg(long)]
    macos: bool,
}

/// The target that is built for.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The target whose types are checked. To link for it, Apple's libraries are needed.
const MACOS: &str = "aarch64-apple-darwin";

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

/// Tests that start their own program as other processes, which an emulator of one process cannot.
const LEFT_OUT: [&str; 4] = [
    "allocations::",
    "crash::",
    "durability::with_",
    "together::",
];

/// Builds the programs, and runs the tests.
///
/// # Errors
/// If a tool is missing, a program does not build, or a test fails.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.macos {
        return check_for_macos(workspace);
    }
    heading("Look for a compiler");
    let cross = Cross::find(workspace)?;
    heading("Build the programs");
    for program in PROGRAMS {
        let mut build = cross.cargo("build", &linux());
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
    let mut test = cross.cargo("test", &linux());
    test.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", emulator);
    for package in TESTED {
        test.args(["--package", package]);
    }
    test.args(["--lib", "--bins", "--tests", "--no-fail-fast", "--"]);
    for name in LEFT_OUT {
        test.args(["--skip", name]);
    }
    run::run(&mut test)?;
    check_for_macos(workspace)
}

/// Checks the types of the command line and of the SDK for Rust, with the tests of both.
fn check_for_macos(workspace: &Workspace) -> Result<()> {
    heading("Check the command line and the SDK for macOS");
    let Some(rustc) = guest_rustc::with_target(workspace, MACOS)? else {
        println!("note: it is not checked: no standard library for {MACOS} can be had");
        return Ok(());
    };
    let cross = Cross::with(workspace, rustc)?;
    let mut check = cross.cargo("check", MACOS);
    check.args([
        "--package",
        "ferrite-wasmc",
        "--package",
        "ferrite-wasm-sdk",
    ]);
    run::run(check.arg("--all-targets"))
}

/// The target with the version of glibc, as cargo-zigbuild takes both.
fn linux() -> String {
    format!("{TARGET}.{GLIBC}")
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
        Self::with(workspace, rustc)
    }

    /// The tools with a compiler that was found.
    fn with(workspace: &'w Workspace, rustc: PathBuf) -> Result<Self> {
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

    /// A subcommand of cargo for a target.
    fn cargo(&self, subcommand: &str, target: &str) -> Command {
        let mut command = self.workspace.command(self.tools.join("cargo-zigbuild"));
        command
            .args([subcommand, "--target", target])
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
