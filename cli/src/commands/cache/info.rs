//! `ferrite-wasmc cache info`: the size of the cache.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use ferrite_cache::Usage;
use serde::Serialize;

use crate::files::cache_folder::CacheFolder;
use crate::terminal::console::{Console, Exit, Report};
use crate::terminal::units::Bytes;

/// Counts entries and bytes; all are 0 if the cache does not exist.
pub(super) fn run(cache: &CacheFolder, console: &Console) -> Result<Exit> {
    let opened = cache.open_existing()?;
    let usage = match &opened {
        Some(cache) => cache.usage()?,
        None => Usage::default(),
    };
    let Usage {
        sources,
        source_bytes,
        artifacts,
        artifact_bytes,
        engines,
        engine_bytes,
        quarantined,
        quarantined_bytes,
        temporary_bytes,
    } = usage;
    console.print(&InfoReport {
        path: std::path::absolute(&cache.path).context("cannot find the cache")?,
        exists: opened.is_some(),
        sources,
        source_bytes,
        artifacts,
        artifact_bytes,
        engines,
        engine_bytes,
        quarantined,
        quarantined_bytes,
        temporary_bytes,
        bytes: usage.bytes(),
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct InfoReport {
    path: PathBuf,
    exists: bool,
    sources: u64,
    source_bytes: u64,
    artifacts: u64,
    /// The engines' bytes included.
    artifact_bytes: u64,
    engines: u64,
    engine_bytes: u64,
    quarantined: u64,
    quarantined_bytes: u64,
    temporary_bytes: u64,
    bytes: u64,
}

impl Report for InfoReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let missing = if self.exists { "" } else { "  (not there yet)" };
        writeln!(out, "path         {}{missing}", self.path.display())?;
        let mut line = |word: &str, count: u64, bytes: u64| {
            writeln!(out, "{word:<11}  {count}, {}", Bytes(bytes))
        };
        line("sources", self.sources, self.source_bytes)?;
        line("artifacts", self.artifacts, self.artifact_bytes)?;
        if self.engines > 0 {
            line("  engines", self.engines, self.engine_bytes)?;
        }
        line("quarantined", self.quarantined, self.quarantined_bytes)?;
        writeln!(out, "unfinished   {}", Bytes(self.temporary_bytes))?;
        writeln!(out, "together     {}", Bytes(self.bytes))
    }
}
