//! Finding what is stored.

pub(crate) mod examine;
pub(crate) mod hash;
pub(crate) mod quarantine;
pub(crate) mod reading;

use std::fs::File;
use std::io::{self, Read};

use rustix::fs::{StatVfsMountFlags, fstatvfs};

use super::artifact::{ArtifactError, VerifiedArtifact};
use super::error::StorageError;
use super::layout::{Key, Kind};
use super::root::Root;
use crate::digest::Digest;
use crate::disk::lookup::examine::{Examined, Purpose};
use crate::disk::lookup::quarantine::{settle_artifact, settle_source};

/// Finds an artifact; what is damaged is moved away and counts as not there.
pub(super) fn artifact(root: &Root, key: &Key) -> Result<Option<VerifiedArtifact>, StorageError> {
    let found = match examine::artifact(root, key, Purpose::Use)? {
        Examined::Intact(artifact) => Some(artifact),
        Examined::Absent => None,
        Examined::Damaged(damage) => settle_artifact(root, key, &damage)?,
    };
    found
        .map(|artifact| executable(root, key, artifact))
        .transpose()
}

/// Finds an artifact of at most so many bytes if all of it is in memory; whatever else is the case is
/// left to those who have more patience.
pub(super) fn artifact_at_once(
    root: &Root,
    key: &Key,
    artifact_bytes_max: u64,
) -> Option<VerifiedArtifact> {
    match examine::artifact(root, key, Purpose::UseAtOnce { artifact_bytes_max }) {
        Ok(Examined::Intact(artifact)) => executable(root, key, artifact).ok(),
        Ok(Examined::Absent | Examined::Damaged(_)) | Err(_) => None,
    }
}

/// Finds a source; what is damaged is moved away and counts as not there.
pub(super) fn source(root: &Root, digest: &Digest) -> Result<Option<Vec<u8>>, StorageError> {
    match examine::source(root, digest, Purpose::Use)? {
        Examined::Intact(bytes) => Ok(Some(bytes)),
        Examined::Absent => Ok(None),
        Examined::Damaged(damage) => settle_source(root, digest, &damage),
    }
}

/// Makes sure that the code can be mapped for running: files of a file system that is mounted
/// `noexec` cannot, so their bytes go into memory.
pub(super) fn executable(
    root: &Root,
    key: &Key,
    artifact: VerifiedArtifact,
) -> Result<VerifiedArtifact, StorageError> {
    let failed = |error: io::Error| {
        let path = key.place().path(root.path());
        StorageError::reading(
            "read",
            &path.join(Kind::Artifact.file_name(&key.source)),
            error,
        )
    };
    let mount = fstatvfs(artifact.file()).map_err(|error| failed(error.into()))?;
    if !mount.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Ok(artifact);
    }
    let len = artifact.len();
    let (manifest, mut file) = artifact.into_parts();
    let bytes = read_all(&mut file, len).map_err(failed)?;
    VerifiedArtifact::in_memory(manifest, &bytes).map_err(|error| match error {
        ArtifactError::Memory(error) => failed(error),
        ArtifactError::Mismatch { .. } => failed(io::ErrorKind::InvalidData.into()),
    })
}

fn read_all(file: &mut File, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}
