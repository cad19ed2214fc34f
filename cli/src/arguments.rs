//! The command line as clap parses it.

use std::sync::LazyLock;

use clap::Parser;

use crate::commands::Command;

/// Compile WebAssembly functions ahead of time, look into them and run them.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by policy, 4 not in the registry.
#[derive(Debug, Parser)]
#[command(name = "ferrite-wasmc", version, long_version = long_version(), max_term_width = 100)]
pub(crate) struct Arguments {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The version with the commit, where the build knew it, the platform and the engine's version.
fn long_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        ferrite_cache::build_version(env!("CARGO_PKG_VERSION"), option_env!("FERRITE_COMMIT"))
    });
    &TEXT
}
