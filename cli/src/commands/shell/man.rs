//! `ferrite-wasmc man`: writes a manual page for the program and for each of its commands.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::terminal::console::Exit;

/// The arguments of `ferrite-wasmc man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder to write the pages into, such as /usr/local/share/man/man1; created if missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes the pages.
pub(crate) fn run(Arguments { folder }: Arguments, tree: clap::Command) -> Result<Exit> {
    let shown = folder.display();
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {shown}"))?;
    clap_mangen::generate_to(tree, &folder)
        .with_context(|| format!("cannot write manual pages into {shown}"))?;
    Ok(Exit::Done)
}
