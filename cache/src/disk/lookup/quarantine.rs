//! Moving away what is damaged, so that it is missed and can be looked at.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, RenameFlags, renameat_with, unlinkat};
use rustix::io::Errno;

use super::examine::{self, Examined, Purpose};
use crate::digest::Digest;
use crate::disk::artifact::VerifiedArtifact;
use crate::disk::error::StorageError;
use crate::disk::layout::{Key, Kind, Place};
use crate::disk::lock::ChangeLock;
use crate::disk::private::names_in;
use crate::disk::publish::step::Step;
use crate::disk::root::Root;

/// Files that the quarantine keeps; beyond it, the oldest go.
const QUARANTINED_MAX: usize = 16;

/// Decides about an artifact that looked damaged.
///
/// Under the lock it is examined again, for somebody may have replaced it meanwhile. If it still is
/// damaged it is moved away; where the disk allows no moving, it stays and is missed all the same.
pub(in crate::disk) fn settle_artifact(
    root: &Root,
    key: &Key,
    damage: &str,
) -> Result<Option<VerifiedArtifact>, StorageError> {
    settle(
        root,
        &key.source,
        damage,
        || examine::artifact(root, key, Purpose::Use),
        |_| move_artifact(root, key),
    )
}

/// The same for a source.
pub(in crate::disk) fn settle_source(
    root: &Root,
    digest: &Digest,
    damage: &str,
) -> Result<Option<Vec<u8>>, StorageError> {
    settle(
        root,
        digest,
        damage,
        || examine::source(root, digest, Purpose::Use),
        |_| move_file(root, Place::Sources, &Kind::Source.file_name(digest)),
    )
}

fn settle<T>(
    root: &Root,
    source: &Digest,
    damage: &str,
    examine: impl FnOnce() -> Result<Examined<T>, StorageError>,
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
        Examined::Intact(found) => Ok(Some(found)),
        Examined::Absent => Ok(None),
        Examined::Damaged(damage) => {
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

/// Moves away an artifact that is intact and must not be used any more.
pub(in crate::disk) fn withdraw(root: &Root, key: &Key) -> Result<(), StorageError> {
    let _lock = ChangeLock::acquire(root)?;
    move_artifact(root, key)
}

/// Moves an artifact and its manifest away; the caller holds the change lock.
///
/// The manifest goes first: an artifact without one is no entry.
pub(in crate::disk) fn move_artifact(root: &Root, key: &Key) -> Result<(), StorageError> {
    move_file(root, key.place(), &Kind::Manifest.file_name(&key.source))?;
    root.reached(Step::ManifestQuarantined);
    move_file(root, key.place(), &Kind::Artifact.file_name(&key.source))
}

/// Moves whatever has this name away, if anything has; the caller holds the change lock.
pub(in crate::disk) fn move_file(
    root: &Root,
    place: Place,
    name: &str,
) -> Result<(), StorageError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(from) = root.open_place(place)? else {
        return Ok(());
    };
    let quarantine = root.make_place(Place::Quarantine)?;
    let moved = loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let new_name = format!("{name}.{}-{number}", std::process::id());
        match renameat_with(&from, name, &quarantine, &new_name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            // A file system that cannot tell whether it would replace something.
            Err(Errno::INVAL) => break rustix::fs::renameat(&from, name, &quarantine, &new_name),
            other => break other,
        }
    };
    match moved {
        Ok(()) => {
            forget_oldest(root, &quarantine);
            Ok(())
        }
        Err(Errno::NOENT) => Ok(()),
        // What cannot be moved may still be removed.
        Err(error) => unlinkat(&from, name, AtFlags::empty()).map_err(|_| {
            StorageError::writing("move away", &place.path(root.path()).join(name), error)
        }),
    }
}

/// Removes the oldest files of the quarantine beyond what it keeps.
fn forget_oldest(root: &Root, quarantine: &OwnedFd) {
    let Ok(mut names) = names_in(quarantine) else {
        return;
    };
    let Some(excess) = names.len().checked_sub(QUARANTINED_MAX) else {
        return;
    };
    names.sort_by_key(|(_, stat)| (stat.st_ctime, stat.st_ctime_nsec));
    for (name, _) in names.iter().take(excess) {
        forget(root, quarantine, name);
    }
}

/// Removes one file of the quarantine; whether it is gone.
pub(in crate::disk) fn forget(root: &Root, quarantine: impl AsFd, name: &str) -> bool {
    match unlinkat(quarantine, name, AtFlags::empty()) {
        Ok(()) => true,
        // Somebody had put a directory in place of a file.
        Err(Errno::ISDIR) => {
            std::fs::remove_dir_all(Place::Quarantine.path(root.path()).join(name)).is_ok()
        }
        Err(_) => false,
    }
}
