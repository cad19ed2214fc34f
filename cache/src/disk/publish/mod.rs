//! Storing sources and artifacts so that a crash at any moment leaves the old state or the new one.

pub(in crate::disk) mod releases;
pub(in crate::disk) mod temporary_file;

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, statat};

use super::artifact::VerifiedArtifact;
use super::error::StorageError;
use super::files::private::sync_directory;
use super::layout::{Directory, FileKind, Key, image_name};
use super::lock::ChangeLock;
use super::lookup;
use super::root::Root;
use crate::artifact_bytes::ArtifactBytes;
use crate::digest::Digest;
use crate::disk::lookup::integrity::{self, Integrity, Purpose};
use crate::disk::lookup::quarantine::{move_artifact, move_file};
use crate::disk::publish::temporary_file::{TemporaryFile, UnsyncedFile};
use crate::disk::step::Step;
use crate::manifest::Manifest;

/// Stores an artifact and its manifest, and reads them back; `None` if reading back failed. `encoded` is
/// the manifest as it is stored.
///
/// The first publisher of a key wins: an intact entry is never replaced. An entry takes two renames,
/// first of the artifact (or its image), then of the manifest; it exists once both are done. The change lock
/// keeps the manifest of one publisher from being combined with the artifact of another. An engine, which
/// other entries may have brought already, comes first.
pub(super) fn artifact(
    root: &Root,
    key: &Key,
    manifest: &Manifest,
    encoded: &[u8],
    artifact: ArtifactBytes<'_>,
) -> Result<Option<VerifiedArtifact>, StorageError> {
    if let Some(existing) = lookup::artifact(root, key)? {
        return Ok(Some(existing));
    }
    let engine_name = FileKind::Engine.file_name(&manifest.artifact);
    let (own, own_name) = match artifact.image {
        Some(image) => (image, image_name(&key.source, &manifest.artifact)),
        None => (artifact.native, FileKind::Artifact.file_name(&key.source)),
    };
    let has_engine = || {
        let found = integrity::engine(root, key, manifest)?;
        Ok::<_, StorageError>(matches!(found, Integrity::Intact(_)))
    };
    let mut engine = None;
    let own = UnsyncedFile::new(root, own)?;
    let meta = UnsyncedFile::new(root, encoded)?;
    let (own, meta) = own.sync_both(meta, root)?;

    let lock = loop {
        if artifact.image.is_some() && engine.is_none() && !has_engine()? {
            engine = Some(TemporaryFile::write(root, artifact.native)?);
        }
        let lock = ChangeLock::acquire(root)?;
        // It may have been evicted since. Nothing is written under the lock.
        if artifact.image.is_none() || engine.is_some() || has_engine()? {
            break lock;
        }
    };
    root.reached(Step::Locked);
    match integrity::artifact(root, key, Purpose::Use)? {
        Integrity::Intact(existing) => return lookup::mappable(root, key, existing).map(Some),
        Integrity::Damaged(_) => move_artifact(root, key)?,
        Integrity::Absent => {}
    }
    let directory = root.make_directory(key.directory())?;
    if let Some(engine) = engine {
        name(root, key.directory(), &directory, engine, &engine_name)?;
        root.reached(Step::EngineNamed);
    }
    name(root, key.directory(), &directory, own, &own_name)?;
    root.reached(Step::ArtifactNamed);
    name(
        root,
        key.directory(),
        &directory,
        meta,
        &FileKind::Manifest.file_name(&key.source),
    )?;
    root.reached(Step::ManifestNamed);
    let examined = integrity::artifact(root, key, Purpose::Use)?;
    drop(lock);

    sync_directory(&directory, &key.directory().path(root.path()))?;
    root.reached(Step::DirectorySynced);
    match examined {
        Integrity::Intact(artifact) => lookup::mappable(root, key, artifact).map(Some),
        Integrity::Absent | Integrity::Damaged(_) => Ok(None),
    }
}

/// Stores a source under its digest.
pub(super) fn source(root: &Root, digest: &Digest, bytes: &[u8]) -> Result<(), StorageError> {
    if lookup::source(root, digest)?.is_some() {
        return Ok(());
    }
    let temporary = TemporaryFile::write(root, bytes)?;

    let lock = ChangeLock::acquire(root)?;
    root.reached(Step::Locked);
    let directory = root.make_directory(Directory::Sources)?;
    // Another process that stores this source at the same time stores the same bytes.
    name(
        root,
        Directory::Sources,
        &directory,
        temporary,
        &FileKind::Source.file_name(digest),
    )?;
    root.reached(Step::SourceNamed);
    drop(lock);

    sync_directory(&directory, &Directory::Sources.path(root.path()))?;
    root.reached(Step::DirectorySynced);
    Ok(())
}

/// Gives a file its name. A directory in the way, which the cache did not make, is quarantined
/// first.
fn name(
    root: &Root,
    place: Directory,
    directory: &OwnedFd,
    temporary: TemporaryFile,
    name: &str,
) -> Result<(), StorageError> {
    if is_directory(directory, name) {
        move_file(root, place, name)?;
    }
    temporary.publish(root, directory, name)
}

/// Returns true if a directory has the name. Nothing else can block a rename.
fn is_directory(directory: &OwnedFd, name: &str) -> bool {
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
