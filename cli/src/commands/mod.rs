//! The commands, one module each.

pub(crate) mod bundle;
pub(crate) mod cache;
pub(crate) mod compile;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod engine;
pub(crate) mod inspect;
pub(crate) mod project;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod shell;
pub(crate) mod signing;
pub(crate) mod targets;
pub(crate) mod worker;

use anyhow::Result;
use clap::Subcommand;

use crate::terminal::console::{Console, Exit};

/// A command with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a project of functions that is ready to build
    New(project::new::Arguments),
    /// Build a project's modules and compile them into the cache
    Build(project::build::Arguments),
    /// Run a project's cases on this machine: commands, calls and the replies they must have
    Test(project::test::Arguments),
    /// Build a project's function and load it into a server, after showing what it may do more
    Deploy(project::deploy::Arguments),
    /// Compile modules into the cache
    Compile(compile::Arguments),
    /// Compile a language's engine into the cache, so that a server without a compiler takes its programs
    Engine(engine::Arguments),
    /// Describe a module, artifact or bundle, with what it needs and why it would be refused
    Inspect(inspect::Arguments),
    /// Call a function on this machine, with a new, empty store
    Run(run::Arguments),
    /// Pack a module and its native code into a bundle that servers can trust
    Bundle(bundle::Arguments),
    /// Create a key pair for signing bundles
    Keygen(signing::keygen::Arguments),
    /// Sign a bundle
    Sign(signing::sign::Arguments),
    /// Check that a trusted key signed a bundle, and every byte of it
    Verify(signing::verify::Arguments),
    /// Upload a signed bundle to an OCI registry
    Push(registry::push::Arguments),
    /// Download a bundle from an OCI registry, and check that a trusted key signed it
    Pull(registry::pull::Arguments),
    /// Show what a new release may do that the old one may not; exit code 3 if there is anything
    Diff(diff::Arguments),
    /// List, check, clean and fill the cache
    Cache(cache::Arguments),
    /// List the targets and CPU baselines that can be compiled for
    Targets(targets::Arguments),
    /// Check this machine for everything that compiling needs
    Doctor(doctor::Arguments),
    /// Print a script that completes commands and options in a shell
    Completions(shell::completions::Arguments),
    /// Write the manual pages
    Man(shell::man::Arguments),
    /// Compile one module that a server sends through a pipe
    #[command(hide = true)]
    Worker(worker::Arguments),
}

/// Runs a command. `tree` describes all commands, for those that write about them.
pub(crate) fn run(
    command: Command,
    tree: fn() -> clap::Command,
    console: &Console,
) -> Result<Exit> {
    match command {
        Command::New(arguments) => project::new::run(arguments, console),
        Command::Build(arguments) => project::build::run(arguments, console),
        Command::Test(arguments) => project::test::run(arguments, console),
        Command::Deploy(arguments) => project::deploy::run(arguments, console),
        Command::Compile(arguments) => compile::run(arguments, console),
        Command::Engine(arguments) => engine::run(arguments, console),
        Command::Inspect(arguments) => inspect::run(arguments, console),
        Command::Run(arguments) => run::run(arguments, console),
        Command::Bundle(arguments) => bundle::run(arguments, console),
        Command::Keygen(arguments) => signing::keygen::run(arguments, console),
        Command::Sign(arguments) => signing::sign::run(arguments, console),
        Command::Verify(arguments) => signing::verify::run(arguments, console),
        Command::Push(arguments) => registry::push::run(arguments, console),
        Command::Pull(arguments) => registry::pull::run(arguments, console),
        Command::Diff(arguments) => diff::run(arguments, console),
        Command::Cache(arguments) => cache::run(arguments, console),
        Command::Targets(arguments) => targets::run(arguments, console),
        Command::Doctor(arguments) => doctor::run(arguments, console),
        Command::Completions(arguments) => shell::completions::run(arguments, tree(), console),
        Command::Man(arguments) => shell::man::run(arguments, tree()),
        Command::Worker(arguments) => worker::run(arguments),
    }
}
