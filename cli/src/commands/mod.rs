//! The commands, one module each.

pub(crate) mod cache;
pub(crate) mod compile;
pub(crate) mod doctor;
pub(crate) mod inspect;
pub(crate) mod targets;
pub(crate) mod worker;

use anyhow::Result;

use crate::arguments::Command;
use crate::console::{Console, Exit};

/// Runs a command to its end.
pub(crate) fn run(command: Command, console: &Console) -> Result<Exit> {
    match command {
        Command::Compile(arguments) => compile::run(arguments, console),
        Command::Inspect(arguments) => inspect::run(arguments, console),
        Command::Cache(arguments) => cache::run(arguments, console),
        Command::Targets(arguments) => targets::run(arguments, console),
        Command::Doctor(arguments) => doctor::run(arguments, console),
        Command::Worker(arguments) => worker::run(arguments),
    }
}
