//! The `ferrite-wasmc` command line.

mod arguments;
mod cache_folder;
mod commands;
mod console;
mod precompile;
mod progress;
mod source;
mod units;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;
use console::{Console, Exit};

fn main() -> ExitCode {
    let Arguments { json, command } = Arguments::parse();
    let console = Console::new(json);
    let exit = commands::run(command, &console).unwrap_or_else(|error| {
        console.error(&error);
        Exit::of(&error)
    });
    exit.into()
}
