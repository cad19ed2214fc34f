//! The `ferrite-wasmc` command line.

mod arguments;
mod clock;
mod commands;
mod files;
mod keys;
mod language;
mod oci;
mod platform;
mod policy;
mod precompile;
mod project;
mod reply;
mod terminal;
mod tls;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

use arguments::Arguments;
use terminal::console::{Console, Exit};

fn main() -> ExitCode {
    let Arguments { json, command } = Arguments::parse();
    let console = Console::new(json);
    let exit = commands::run(command, Arguments::command, &console).unwrap_or_else(|error| {
        console.error(&error);
        Exit::of(&error)
    });
    exit.into()
}
