//! The `ferrite-wasmc` command line.

mod arguments;
mod bundle_file;
mod cache_folder;
mod clock;
mod commands;
mod console;
mod keys;
mod language;
mod oci;
mod password;
mod platform;
mod precompile;
mod progress;
mod project;
mod rights;
mod source;
mod units;
mod watch;
mod whole_file;

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
