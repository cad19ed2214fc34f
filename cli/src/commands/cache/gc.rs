//! `ferrite-wasmc cache gc`: shrinks the cache to a size.

use std::collections::HashSet;
use std::io::{self, Write};

use anyhow::Result;
use ferrite_cache::{Digest, Evicted};
use serde::Serialize;

use crate::files::cache_folder::{CacheFolder, SIZE_BYTES_MAX};
use crate::terminal::console::{Console, Exit, Report};
use crate::terminal::units::Bytes;

/// The arguments of `ferrite-wasmc cache gc`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    cache: CacheFolder,

    /// Size to shrink to, in bytes or with a unit, such as `512MB`
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value_t = SIZE_BYTES_MAX)]
    max_size: u64,

    /// Keep this module and its artifacts, however old; may be given several times. Name the
    /// modules that a server has loaded from this cache: the server needs them after a restart
    #[arg(long, value_name = "blake3:HEX")]
    keep: Vec<Digest>,
}

/// Removes the least recently used entries until the cache is small enough.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Exit> {
    let Arguments {
        cache,
        max_size,
        keep,
    } = arguments;
    let pinned: HashSet<Digest> = keep.iter().copied().collect();
    let evicted = match cache.open_existing()? {
        Some(_) => cache.open_with(*max_size)?.evict(&pinned)?,
        None => Evicted::default(),
    };
    let Evicted {
        artifacts,
        sources,
        freed_bytes,
        left_bytes,
    } = evicted;
    console.print(&GcReport {
        artifacts,
        sources,
        freed_bytes,
        left_bytes,
    })?;
    Ok(Exit::Done)
}

/// Reads a size: a number of bytes, or a number with a unit; units are powers of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err("write a number of bytes, or one with KB, MB or GB".to_owned()),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "write a number of bytes, or one with KB, MB or GB".to_owned())
}

#[derive(Serialize)]
struct GcReport {
    artifacts: u64,
    sources: u64,
    freed_bytes: u64,
    left_bytes: u64,
}

impl Report for GcReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "removed {} artifacts and {} sources: {} freed, {} left",
            self.artifacts,
            self.sources,
            Bytes(self.freed_bytes),
            Bytes(self.left_bytes)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("512MB"), Ok(512 << 20));
        assert_eq!(parse_size("1g"), Ok(1 << 30));
        for wrong in ["", "MB", "-1", "1.5GB", "1TB", "99999999999GB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
