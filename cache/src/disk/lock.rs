//! Locks between threads and processes, by `flock` on empty files.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::error::StorageError;
use super::layout::{Directory, Key};
use super::root::Root;

/// Name of the lock that every change of entries takes.
const CHANGE: &str = "change";

/// The exclusive right to rename, evict or quarantine entries. It is never held while something is
/// compiled, written or synced.
pub(super) struct ChangeLock {
    file: File,
}

impl ChangeLock {
    /// Waits for the lock.
    pub(super) fn acquire(root: &Root) -> Result<Self, StorageError> {
        let directory = root.make_directory(Directory::Locks)?;
        let (file, path) = open(root, &directory, CHANGE)?;
        wait(&file, &path)?;
        Ok(Self { file })
    }
}

impl Drop for ChangeLock {
    fn drop(&mut self) {
        release(&self.file);
    }
}

/// The exclusive right to compile one source for one profile.
///
/// The lock is released on drop, and when the process ends in any way.
#[derive(Debug)]
pub struct KeyLock {
    directory: OwnedFd,
    name: String,
    file: File,
}

impl KeyLock {
    /// Waits for the lock.
    pub(super) fn acquire(root: &Root, key: &Key) -> Result<Self, StorageError> {
        let directory = root.make_directory(Directory::Locks)?;
        let name = key.lock_name();
        loop {
            let (file, path) = open(root, &directory, &name)?;
            wait(&file, &path)?;
            // The previous holder removed the file; another process may have created and locked a
            // new one since. Only the lock on the file that has the name counts.
            let named = has_name(&file, &directory, &name)
                .map_err(|error| StorageError::reading("stat the lock", &path, error))?;
            if named {
                return Ok(Self {
                    directory,
                    name,
                    file,
                });
            }
        }
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // The lock is still held, so the name is that of this file. If the removal fails, an empty
        // file stays, which does no harm and is swept later.
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
        release(&self.file);
    }
}

/// Removes the lock file of a key that a crash has left behind, unless a process holds it. Returns
/// true if the file was removed.
pub(super) fn remove_if_free(directory: &OwnedFd, name: &str) -> bool {
    if name == CHANGE {
        return false;
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(file) = openat(directory, name, flags, Mode::empty()) else {
        return false;
    };
    // Closing the file releases the lock, so the lock is held until the name is gone.
    let file = File::from(file);
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        && has_name(&file, directory, name).unwrap_or(false)
        && unlinkat(directory, name, AtFlags::empty()).is_ok()
}

fn open(root: &Root, directory: &OwnedFd, name: &str) -> Result<(File, PathBuf), StorageError> {
    let path = Directory::Locks.path(root.path()).join(name);
    let flags = OFlags::RDWR
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::CLOEXEC
        | OFlags::NONBLOCK
        | OFlags::NOCTTY;
    match openat(directory, name, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok((File::from(file), path)),
        Err(error) => Err(StorageError::writing("open the lock", &path, error)),
    }
}

fn wait(file: &File, path: &std::path::Path) -> Result<(), StorageError> {
    retry_on_intr(|| flock(file, FlockOperation::LockExclusive))
        .map_err(|error| StorageError::writing("lock", path, error))
}

/// Releases a lock at once. Closing the file would not be enough: a process that was forked
/// meanwhile still has it open, and a host such as Valkey forks to save its data.
fn release(file: &File) {
    let _ = flock(file, FlockOperation::Unlock);
}

fn has_name(file: &File, directory: &OwnedFd, name: &str) -> rustix::io::Result<bool> {
    let ours = fstat(file)?;
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
