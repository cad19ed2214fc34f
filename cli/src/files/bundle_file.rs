//! Reads and writes bundle files.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use ferrite_cache::ArtifactBuf;
use ferrite_cache::bundle::{
    BundleLimits, BundleMembers, SignatureText, UncheckedBundle, write_bundle,
};

use crate::files::atomic_file;

/// The first bytes of every bundle: the name in its first tar header.
const MAGIC: &[u8] = b"manifest.json\0";

/// Returns true if these bytes are the beginning of a bundle.
pub(crate) fn is_bundle(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Returns true if a file begins like a bundle; false if it cannot be read.
pub(crate) fn is_bundle_file(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| is_bundle(&start))
}

/// Opens a bundle and reads its manifest. Its signature and members are not checked yet.
pub(crate) fn open(path: &Path) -> Result<UncheckedBundle<BufReader<File>>> {
    let name = || path.display().to_string();
    let file = File::open(path).context("cannot open").with_context(name)?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        bail!("{}: is a folder; name a bundle", path.display());
    }
    UncheckedBundle::open(BufReader::new(file), BundleLimits::default()).with_context(name)
}

/// Reads the whole bundle and checks each member against its digest. The signature is not checked.
pub(crate) fn read(path: &Path) -> Result<BundleMembers> {
    open(path)?
        .into_members()
        .with_context(|| path.display().to_string())
}

/// Writes a bundle of these members; without a signature, it is unsigned.
pub(crate) fn write(
    path: &Path,
    manifest_json: &[u8],
    signature: Option<&SignatureText>,
    source: &[u8],
    artifacts: &[ArtifactBuf],
) -> Result<()> {
    let artifacts: Vec<&ArtifactBuf> = artifacts.iter().collect();
    atomic_file::write(path, 0o644, false, |mut out| {
        Ok(write_bundle(
            &mut out,
            manifest_json,
            signature,
            source,
            &artifacts,
        )?)
    })
}
