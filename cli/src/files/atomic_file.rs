//! Writes a file whole or not at all.

use std::fs::Permissions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Writes a file with permissions `mode`; `fill` writes its contents. An existing file is replaced;
/// with `keep` it stays, and the call fails.
pub(crate) fn write(
    path: &Path,
    mode: u32,
    keep: bool,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    try_write(path, mode, keep, fill).with_context(|| format!("cannot write {}", path.display()))
}

fn try_write(
    path: &Path,
    mode: u32,
    keep: bool,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        bail!("there is no folder {}", folder.display());
    }
    let mut temporary = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)?;
    let mut out = BufWriter::new(&mut temporary);
    fill(&mut out)?;
    out.flush()?;
    drop(out);
    temporary.as_file().sync_all()?;
    if keep {
        temporary.persist_noclobber(path)?;
    } else {
        temporary.persist(path)?;
    }
    Ok(())
}
