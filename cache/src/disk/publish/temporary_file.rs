//! Files on their way to a name.

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

/// A complete and synced file without a published name; it is removed unless it gets one.
///
/// It is locked as long as its writer lives, so that a sweep tells what a crash has left from what
/// is still being written.
pub(in crate::disk) struct TemporaryFile {
    directory: OwnedFd,
    name: String,
    /// Only held, for its lock.
    _file: File,
    named: bool,
}

/// A temporary file that is complete, and perhaps not yet on disk.
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

    /// Waits until both files are on disk. File systems with a journal write it once for those who
    /// wait together.
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

    /// Gives the file its name, in place of whatever had it.
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
            // Whatever cannot be removed now is swept later.
            let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}

/// Creates a file of a name that nobody has; read-only from the start, for it is never rewritten.
fn create(directory: &OwnedFd, root: &Root) -> Result<(File, String), StorageError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        // Process ids repeat, after a restart and across containers; then the next number is free.
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
