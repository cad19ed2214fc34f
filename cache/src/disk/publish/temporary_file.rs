//! Files that are written before they get their published name.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::disk::error::StorageError;
use crate::disk::join::join;
use crate::disk::layout::Directory;
use crate::disk::root::Root;
use crate::disk::step::Step;

/// A complete and synced file without a published name. It is removed on drop unless it was
/// published.
///
/// The file is locked while its writer lives, so that a sweep can distinguish it from one that a
/// crash has left behind.
pub(in crate::disk) struct TemporaryFile {
    directory: OwnedFd,
    name: String,
    /// Kept open for its lock.
    _file: File,
    named: bool,
}

/// A complete temporary file that may not have reached the disk yet.
pub(in crate::disk) struct UnsyncedFile(TemporaryFile);

impl UnsyncedFile {
    /// Writes `bytes` into a new file.
    pub(in crate::disk) fn new(root: &Root, bytes: &[u8]) -> Result<Self, StorageError> {
        let directory = root.make_directory(Directory::Temporary)?;
        let (file, name) = create(&directory, root)?;
        let path = path_of(root, &name);
        let temporary = TemporaryFile {
            directory,
            name,
            _file: file,
            named: false,
        };
        let mut file = &temporary._file;
        flock(file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| StorageError::writing("lock", &path, error))?;
        root.reached(Step::Created);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        file.write_all(first)
            .map_err(|error| StorageError::writing("write", &path, error))?;
        root.reached(Step::HalfWritten);
        file.write_all(second)
            .map_err(|error| StorageError::writing("write", &path, error))?;
        root.reached(Step::Written);
        Ok(Self(temporary))
    }

    /// Waits until the file is on disk.
    pub(in crate::disk) fn sync(self, root: &Root) -> Result<TemporaryFile, StorageError> {
        let Self(temporary) = self;
        fsync(&temporary._file).map_err(|error| {
            StorageError::writing("sync", &path_of(root, &temporary.name), error)
        })?;
        root.reached(Step::Synced);
        Ok(temporary)
    }

    /// Waits until both files are on disk. Syncing in parallel lets a journaling file system write
    /// its journal once for both.
    pub(in crate::disk) fn sync_both(
        self,
        other: Self,
        root: &Root,
    ) -> Result<(TemporaryFile, TemporaryFile), StorageError> {
        let (one, other) = join(|| self.sync(root), || other.sync(root));
        Ok((one?, other?))
    }
}

impl TemporaryFile {
    /// Writes `bytes` into a new file and waits until they are on disk.
    pub(in crate::disk) fn write(root: &Root, bytes: &[u8]) -> Result<Self, StorageError> {
        UnsyncedFile::new(root, bytes)?.sync(root)
    }

    /// Renames the file to its published name and replaces any file there.
    pub(in crate::disk) fn publish(
        mut self,
        root: &Root,
        directory: impl AsFd,
        name: &str,
    ) -> Result<(), StorageError> {
        renameat(&self.directory, &self.name, directory, name)
            .map_err(|error| StorageError::writing("rename", &path_of(root, &self.name), error))?;
        self.named = true;
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.named {
            // A file that cannot be removed now is swept later.
            let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}

/// Creates a file under an unused name. It is read-only from the start because it is never rewritten.
fn create(directory: &OwnedFd, root: &Root) -> Result<(File, String), StorageError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        // Process ids repeat after a restart and across containers; then try the next number.
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        match openat(directory, &name, flags, Mode::RUSR) {
            Ok(file) => return Ok((File::from(file), name)),
            Err(Errno::EXIST) => {}
            Err(error) => {
                return Err(StorageError::writing(
                    "create",
                    &path_of(root, &name),
                    error,
                ));
            }
        }
    }
}

fn path_of(root: &Root, name: &str) -> PathBuf {
    Directory::Temporary.path(root.path()).join(name)
}
