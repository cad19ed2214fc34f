//! `ferrite-wasmc completions`: prints a script that completes commands and options.

use anyhow::Result;
use clap_complete::Shell;

use crate::terminal::console::{Console, Exit};

/// The arguments of `ferrite-wasmc completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Shell to print the script for
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(
    Arguments { shell }: Arguments,
    mut tree: clap::Command,
    console: &Console,
) -> Result<Exit> {
    let name = tree.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree, name, &mut script);
    console.print_text(|out| out.write_all(&script))?;
    Ok(Exit::Done)
}
