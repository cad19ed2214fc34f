//! `ferrite-wasmc cache path`: the path of the cache's folder.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::files::cache_folder::CacheFolder;
use crate::terminal::console::{Console, Exit, Report};

/// Prints the absolute path, even if the folder does not exist.
pub(super) fn run(cache: &CacheFolder, console: &Console) -> Result<Exit> {
    let path = std::path::absolute(&cache.path).context("cannot find the cache")?;
    console.print(&PathReport { path })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct PathReport {
    path: PathBuf,
}

impl Report for PathReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.path.display())
    }
}
