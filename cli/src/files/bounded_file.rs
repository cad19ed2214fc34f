//! Reads a file up to a size limit.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::terminal::units::Bytes;
use anyhow::{Context, Result, bail};

/// Error: a file is larger than the limit.
#[derive(Debug)]
pub(crate) struct TooLarge {
    bytes: u64,
    bytes_max: u64,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, most) = (Bytes(self.bytes), Bytes(self.bytes_max));
        write!(f, "the file has {found}, more than the limit of {most}")
    }
}

impl std::error::Error for TooLarge {}

/// Reads a whole file; fails with [`TooLarge`] if it has more than `bytes_max` bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut file = File::open(path).context("cannot open")?;
    let metadata = file.metadata().context("cannot read")?;
    if metadata.is_dir() {
        bail!("is a folder; name a file");
    }
    if metadata.len() > bytes_max {
        bail!(TooLarge {
            bytes: metadata.len(),
            bytes_max
        });
    }
    // Pipes and the like have no length, so what arrives is limited too.
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    Read::by_ref(&mut file)
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .context("cannot read")?;
    if bytes.len() as u64 > bytes_max {
        bail!(TooLarge {
            bytes: bytes.len() as u64,
            bytes_max
        });
    }
    Ok(bytes)
}
