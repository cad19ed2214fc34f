//! `cargo xtask cross`: builds the programs for Linux on arm64 on another machine, and runs the
//! tests there that an emulator can run; and checks the command line for macOS, as far as types go.
//!
//! zig is the C compiler and the linker. What is built needs glibc 2.31 or later.

mod emulated;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::binaries::BuildProfile;
use crate::run::{self, heading};
use crate::tools::Python;
use crate::tools::guest_rustc;
use crate::tools::trixie::{cross_rustc, emulator};
use crate::workspace::Workspace;

use emulated::{Emulation, LeftOut};

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
    #[arg(long, conflicts_with_all = ["filters", "packages"])]
    macos: bool,
    /// Run tests of this package alone, without building the programs first; can be given several times
    #[arg(long = "package", value_name = "PACKAGE", conflicts_with = "build")]
    packages: Vec<String>,
    /// Longest time for one test in the emulator, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    patience: u64,
    /// Number of tests that run at once
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Run tests with one of these in their names alone, without building the programs first
    #[arg(value_name = "FILTER", conflicts_with = "build")]
    filters: Vec<String>,
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

/// Why tests that start their own program again are left out.
const STARTS_ITSELF: &str =
    "they start their own program again, which the emulator of one process does not emulate";

/// Tests that the emulator cannot run.
const LEFT_OUT: [LeftOut; 6] = [
    LeftOut {
        package: "ferrite-runtime",
        name: "isolation::hostile::thousands_of_instances_are_small",
        reason: "it counts the kernel's mappings, and the emulator shows others",
    },
    LeftOut {
        package: "ferrite-store",
        name: "allocations::",
        reason: STARTS_ITSELF,
    },
    LeftOut {
        package: "ferrite-store",
        name: "live_memory::",
        reason: STARTS_ITSELF,
    },
    LeftOut {
        package: "ferrite-cache",
        name: "crash::",
        reason: STARTS_ITSELF,
    },
    LeftOut {
        package: "ferrite-store",
        name: "durability::with_",
        reason: STARTS_ITSELF,
    },
    LeftOut {
        package: "ferrite-cache",
        name: "together::",
        reason: STARTS_ITSELF,
    },
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
    let is_whole = options.filters.is_empty() && options.packages.is_empty();
    if is_whole {
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
    }
    if options.build {
        return Ok(());
    }
    test_in_emulator(workspace, &cross, options)?;
    if is_whole {
        check_for_macos(workspace)?;
    }
    Ok(())
}

/// Builds the tests, and runs them in the emulator.
fn test_in_emulator(workspace: &Workspace, cross: &Cross<'_>, options: &Options) -> Result<()> {
    heading("Run tests in an emulator");
    let emulator = emulator::ensure(workspace)?;
    let mut build = cross.cargo("test", &linux());
    // All of them even for one: another choice of packages has other features, and builds wasmtime again.
    for package in TESTED {
        build.args(["--package", package]);
    }
    build.args(["--lib", "--bins", "--tests", "--no-run"]);
    // The emulator takes long for code that is not optimised.
    build.args(["--config", "profile.dev.opt-level=1"]);
    build.args(["--message-format", "json-render-diagnostics"]);
    let mut programs = emulated::programs(&run::output(&mut build)?)?;
    if !options.packages.is_empty() {
        programs.retain(|program| options.packages.contains(&program.package));
    }
    let emulation = Emulation {
        emulator: &emulator,
        patience: Duration::from_secs(options.patience),
        jobs: options.jobs,
        filters: &options.filters,
        left_out: &LEFT_OUT,
    };
    emulation.run(workspace, &programs)
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
