//! `ferrite-wasmc cache`: lists, checks, cleans and fills the cache.

mod gc;
mod import;
mod info;
mod ls;
mod path;
mod verify;

use anyhow::Result;
use clap::Subcommand;

use crate::files::cache_folder::CacheFolder;
use crate::terminal::console::{Console, Exit};

/// The arguments of `ferrite-wasmc cache`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    task: Task,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
enum Task {
    /// List the modules and their artifacts, the most recently used first
    Ls {
        #[command(flatten)]
        cache: CacheFolder,
    },
    /// Show the size of the cache
    Info {
        #[command(flatten)]
        cache: CacheFolder,
    },
    /// Check every byte; damaged entries are moved away and compiled again when needed
    Verify {
        #[command(flatten)]
        cache: CacheFolder,
    },
    /// Remove the least recently used entries, artifacts first, until the cache is small enough
    Gc(gc::Arguments),
    /// Store the code of a signed bundle in the cache, so that a server need not compile it
    Import(import::Arguments),
    /// Print the path of the cache's folder
    Path {
        #[command(flatten)]
        cache: CacheFolder,
    },
}

/// Runs the subcommand.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    match arguments.task {
        Task::Ls { cache } => ls::run(&cache, console),
        Task::Info { cache } => info::run(&cache, console),
        Task::Verify { cache } => verify::run(&cache, console),
        Task::Gc(arguments) => gc::run(&arguments, console),
        Task::Import(arguments) => import::run(&arguments, console),
        Task::Path { cache } => path::run(&cache, console),
    }
}
