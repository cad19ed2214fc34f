//! Moves damaged entries away, so that they are compiled again and can be inspected.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, RenameFlags, renameat_with, unlinkat};
use rustix::io::Errno;

use super::integrity::{self, Integrity, Purpose};
use crate::digest::Digest;
use crate::disk::artifact::VerifiedArtifact;
use crate::disk::error::StorageError;
use crate::disk::files::private::names_in;
use crate::disk::layout::{Directory, FileKind, Key, image_name};
use crate::disk::lock::ChangeLock;
use crate::disk::root::Root;
use crate::disk::step::Step;

/// Most files that the quarantine keeps; beyond it, the oldest are removed.
const QUARANTINED_MAX: usize = 16;

/// Checks an artifact that looked damaged again, and quarantines it if it is.
///
/// The second check holds the change lock: the first one may have seen the middle of a change. If
/// the disk does not allow moving the artifact, it stays; the result is `None` all the same.
pub(in crate::disk) fn recheck_artifact(
    root: &Root,
    key: &Key,
    damage: &str,
) -> Result<Option<VerifiedArtifact>, StorageError> {
    recheck(
        root,
        &key.source,
        damage,
        || integrity::artifact(root, key, Purpose::Use),
        |_| move_artifact(root, key),
    )
}

/// Does the same as [`recheck_artifact`] for a source.
pub(in crate::disk) fn recheck_source(
    root: &Root,
    digest: &Digest,
    damage: &str,
) -> Result<Option<Vec<u8>>, StorageError> {
    recheck(
        root,
        digest,
        damage,
        || integrity::source(root, digest, Purpose::Use),
        |_| {
            move_file(
                root,
                Directory::Sources,
                &FileKind::Source.file_name(digest),
            )
        },
    )
}

fn recheck<T>(
    root: &Root,
    source: &Digest,
    damage: &str,
    examine: impl FnOnce() -> Result<Integrity<T>, StorageError>,
    move_away: impl FnOnce(&ChangeLock) -> Result<(), StorageError>,
) -> Result<Option<T>, StorageError> {
    let kept = |damage: &str, error: &StorageError| {
        tracing::warn!(
            %source,
            damage,
            error = error as &dyn std::error::Error,
            "a damaged entry of the cache is ignored and cannot be moved away"
        );
    };
    root.reached(Step::Suspected);
    let lock = match ChangeLock::acquire(root) {
        Ok(lock) => lock,
        Err(error) => {
            kept(damage, &error);
            return Ok(None);
        }
    };
    match examine()? {
        Integrity::Intact(found) => Ok(Some(found)),
        Integrity::Absent => Ok(None),
        Integrity::Damaged(damage) => {
            match move_away(&lock) {
                Ok(()) => {
                    tracing::warn!(%source, damage, "quarantined a damaged entry of the cache");
                }
                Err(error) => kept(&damage, &error),
            }
            Ok(None)
        }
    }
}

/// Quarantines an intact artifact that must not be used any more.
pub(in crate::disk) fn withdraw(root: &Root, key: &Key) -> Result<(), StorageError> {
    let _lock = ChangeLock::acquire(root)?;
    move_artifact(root, key)
}

/// Moves an artifact and its manifest to the quarantine, with its image; the caller holds the change lock.
/// The engine of an image goes along only if it is damaged itself, because others may need it.
///
/// The manifest goes first: without it, the artifact is not an entry.
pub(in crate::disk) fn move_artifact(root: &Root, key: &Key) -> Result<(), StorageError> {
    let manifest = integrity::manifest(root, key).filter(|manifest| manifest.image.is_some());
    move_file(
        root,
        key.directory(),
        &FileKind::Manifest.file_name(&key.source),
    )?;
    root.reached(Step::ManifestQuarantined);
    if let Some(manifest) = &manifest {
        let name = image_name(&key.source, &manifest.artifact);
        move_file(root, key.directory(), &name)?;
        if let Integrity::Damaged(_) = integrity::engine(root, key, manifest)? {
            let name = FileKind::Engine.file_name(&manifest.artifact);
            move_file(root, key.directory(), &name)?;
        }
    }
    move_file(
        root,
        key.directory(),
        &FileKind::Artifact.file_name(&key.source),
    )
}

/// Moves the file or directory with this name, if any, to the quarantine; the caller holds the change
/// lock.
pub(in crate::disk) fn move_file(
    root: &Root,
    place: Directory,
    name: &str,
) -> Result<(), StorageError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(from) = root.open_directory(place)? else {
        return Ok(());
    };
    let quarantine = root.make_directory(Directory::Quarantine)?;
    let moved = loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let new_name = format!("{name}.{}-{number}", std::process::id());
        match renameat_with(&from, name, &quarantine, &new_name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            // The file system does not support renaming without replacing.
            Err(Errno::INVAL) => break rustix::fs::renameat(&from, name, &quarantine, &new_name),
            other => break other,
        }
    };
    match moved {
        Ok(()) => {
            trim_quarantine(root, &quarantine);
            Ok(())
        }
        Err(Errno::NOENT) => Ok(()),
        // If moving fails, removing may still work.
        Err(error) => unlinkat(&from, name, AtFlags::empty()).map_err(|_| {
            StorageError::writing("move away", &place.path(root.path()).join(name), error)
        }),
    }
}

/// Removes the oldest files beyond the limit of the quarantine.
fn trim_quarantine(root: &Root, quarantine: &OwnedFd) {
    let Ok(mut names) = names_in(quarantine) else {
        return;
    };
    let Some(excess) = names.len().checked_sub(QUARANTINED_MAX) else {
        return;
    };
    names.sort_by_key(|(_, stat)| (stat.st_ctime, stat.st_ctime_nsec));
    for (name, _) in names.iter().take(excess) {
        remove_quarantined(root, quarantine, name);
    }
}

/// Removes one file of the quarantine. Returns true if it was removed.
pub(in crate::disk) fn remove_quarantined(root: &Root, quarantine: impl AsFd, name: &str) -> bool {
    match unlinkat(quarantine, name, AtFlags::empty()) {
        Ok(()) => true,
        // A directory had been put in place of a file.
        Err(Errno::ISDIR) => {
            std::fs::remove_dir_all(Directory::Quarantine.path(root.path()).join(name)).is_ok()
        }
        Err(_) => false,
    }
}
