//! The commands, one module each.

pub(crate) mod build;
pub(crate) mod bundle;
pub(crate) mod cache;
pub(crate) mod compile;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod inspect;
pub(crate) mod new;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod signing;
pub(crate) mod targets;
pub(crate) mod worker;

use anyhow::Result;
use clap::Subcommand;

use crate::terminal::console::{Console, Exit};

/// A command and what was typed for it.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a project of functions that builds at once
    New(new::Arguments),
    /// Build a project's modules and compile them into the cache
    Build(build::Arguments),
    /// Compile modules into the cache
    Compile(compile::Arguments),
    /// Show what a module, artifact or bundle is, what it needs, and why it would be refused
    Inspect(inspect::Arguments),
    /// Call a function here, on a store of its own
    Run(run::Arguments),
    /// Pack a module and its native code into a bundle that servers can trust
    Bundle(bundle::Arguments),
    /// Make a key pair that signs bundles
    Keygen(signing::keygen::Arguments),
    /// Sign a bundle
    Sign(signing::sign::Arguments),
    /// Check that a trusted key signed a bundle, and every byte of it
    Verify(signing::verify::Arguments),
    /// Put a signed bundle into an OCI registry
    Push(registry::push::Arguments),
    /// Fetch a bundle from an OCI registry, and check that a trusted key signed it
    Pull(registry::pull::Arguments),
    /// Show what a release may do that the one before could not; exit code 3 where it is more
    Diff(diff::Arguments),
    /// Look at the cache and keep it in order
    Cache(cache::Arguments),
    /// List the targets and CPU baselines that can be compiled for
    Targets(targets::Arguments),
    /// Check that this machine has what is needed
    Doctor(doctor::Arguments),
    /// Compile one module that comes through a pipe, for a server
    #[command(hide = true)]
    Worker(worker::Arguments),
}

/// Runs a command to its end.
pub(crate) fn run(command: Command, console: &Console) -> Result<Exit> {
    match command {
        Command::New(arguments) => new::run(arguments, console),
        Command::Build(arguments) => build::run(arguments, console),
        Command::Compile(arguments) => compile::run(arguments, console),
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
        Command::Worker(arguments) => worker::run(arguments),
    }
}
