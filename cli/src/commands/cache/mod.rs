//! `ferrite-wasmc cache`: looks at the cache and keeps it in order.

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

/// What was typed after `cache`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    task: Task,
}

/// What to do with the cache.
#[derive(Debug, Subcommand)]
enum Task {
    /// List the modules and their artifacts, the most recently used first
    Ls {
        #[command(flatten)]
        cache: CacheFolder,
    },
    /// Say what the cache takes up
    Info {
        #[command(flatten)]
        cache: CacheFolder,
    },
    /// Check every byte; what is damaged is moved away, to be compiled again
    Verify {
        #[command(flatten)]
        cache: CacheFolder,
    },
    /// Remove what has not been used for longest, artifacts first, until the rest is small enough
    Gc(gc::Arguments),
    /// Put the code of a signed bundle into the cache, so that a server need not compile it
    Import(import::Arguments),
    /// Print the folder
    Path {
        #[command(flatten)]
        cache: CacheFolder,
    },
}

/// Does what was asked.
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
