//! What was typed.

use clap::{Parser, Subcommand};

use crate::commands::{cache, compile, doctor, inspect, targets, worker};

/// Compile WebAssembly functions ahead of time, look into them and run them.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by policy.
#[derive(Debug, Parser)]
#[command(name = "ferrite-wasmc", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A command and what was typed for it.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compile modules into the cache
    Compile(compile::Arguments),
    /// Show what a module or artifact is, what it needs, and why it would be refused
    Inspect(inspect::Arguments),
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
