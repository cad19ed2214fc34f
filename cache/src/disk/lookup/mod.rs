//! Finding stored sources and artifacts.

mod hash;
pub(in crate::disk) mod integrity;
pub(in crate::disk) mod quarantine;
mod read_mode;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::artifact::VerifiedArtifact;
use super::error::StorageError;
use super::layout::Key;
use super::root::Root;
use crate::digest::Digest;
use crate::disk::files::platform;
use crate::disk::lookup::integrity::{Integrity, Purpose};
use crate::disk::lookup::quarantine::{recheck_artifact, recheck_source};

/// Finds an artifact. A damaged one is quarantined, and the result is `None`.
pub(super) fn artifact(root: &Root, key: &Key) -> Result<Option<VerifiedArtifact>, StorageError> {
    let found = match integrity::artifact(root, key, Purpose::Use)? {
        Integrity::Intact(artifact) => Some(artifact),
        Integrity::Absent => None,
        Integrity::Damaged(damage) => recheck_artifact(root, key, &damage)?,
    };
    found
        .map(|artifact| mappable(root, key, artifact))
        .transpose()
}

/// Finds an artifact of at most `artifact_bytes_max` bytes if all of it is in memory. Returns
/// `None` in every other case; a lookup that may block decides those.
pub(super) fn artifact_nonblocking(
    root: &Root,
    key: &Key,
    artifact_bytes_max: u64,
) -> Option<VerifiedArtifact> {
    match integrity::artifact(root, key, Purpose::UseNonBlocking { artifact_bytes_max }) {
        Ok(Integrity::Intact(artifact)) => mappable(root, key, artifact).ok(),
        Ok(Integrity::Absent | Integrity::Damaged(_)) | Err(_) => None,
    }
}

/// Finds a source. A damaged one is quarantined, and the result is `None`.
pub(super) fn source(root: &Root, digest: &Digest) -> Result<Option<Vec<u8>>, StorageError> {
    match integrity::source(root, digest, Purpose::Use)? {
        Integrity::Intact(bytes) => Ok(Some(bytes)),
        Integrity::Absent => Ok(None),
        Integrity::Damaged(damage) => recheck_source(root, digest, &damage),
    }
}

/// Makes sure that the code can be mapped as executable: copies it into memory if its file system is
/// mounted `noexec`.
pub(super) fn mappable(
    root: &Root,
    key: &Key,
    artifact: VerifiedArtifact,
) -> Result<VerifiedArtifact, StorageError> {
    let path = key.directory().path(root.path());
    let path = path.join(integrity::code_name(key, artifact.manifest()));
    let failed = |error: io::Error| StorageError::reading("read", &path, error);
    if !platform::forbids_code(artifact.file()).map_err(failed)? {
        return Ok(artifact);
    }
    let bytes = read_all(artifact.file(), artifact.len()).map_err(failed)?;
    // The file was checked, and these are the bytes that will run.
    if Digest::of(&bytes) != artifact.manifest().artifact {
        return Err(failed(io::ErrorKind::InvalidData.into()));
    }
    artifact.with_code_in_memory(&bytes).map_err(failed)
}

/// Reads all of a file from its start.
pub(super) fn read_all(file: &File, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
