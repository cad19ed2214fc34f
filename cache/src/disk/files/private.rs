//! Opening directories and files that only this user can have changed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, fsync, mkdirat, openat, statat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::platform;
use crate::disk::error::StorageError;

/// Flags of every open: do not follow links, do not pass the descriptor to child processes, do not
/// wait for the other end of a FIFO.
const OPEN: OFlags = OFlags::NOFOLLOW
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// Permission bits of the group and of others.
const OTHERS: u32 = 0o077;

/// Opens a directory that must be private to this user; `None` if it does not exist.
///
/// `path` is used for error messages only.
pub(in crate::disk) fn open_directory(
    parent: impl AsFd,
    name: &Path,
    path: &Path,
) -> Result<Option<OwnedFd>, StorageError> {
    let flags = OPEN | OFlags::RDONLY | OFlags::DIRECTORY;
    let directory = match openat(parent, name, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(None),
        // A link to a directory gives `NOTDIR` too, because the link itself is not one.
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return Err(StorageError::NotADirectory {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(StorageError::reading("open", path, error)),
    };
    let stat = fstat(&directory).map_err(|error| StorageError::reading("stat", path, error))?;
    let user = geteuid().as_raw();
    if stat.st_uid != user {
        return Err(StorageError::Foreign {
            path: path.to_owned(),
            owner: stat.st_uid,
            user,
        });
    }
    let mode = platform::mode(&stat);
    if mode & OTHERS != 0 {
        return Err(StorageError::NotPrivate {
            path: path.to_owned(),
            mode: mode & 0o7777,
        });
    }
    Ok(Some(directory))
}

/// Opens a private directory; creates it if it does not exist.
pub(in crate::disk) fn make_directory(
    parent: impl AsFd,
    name: &Path,
    path: &Path,
) -> Result<OwnedFd, StorageError> {
    // Try twice: another process may remove the directory in between.
    for _ in 0..2 {
        if let Some(directory) = open_directory(&parent, name, path)? {
            return Ok(directory);
        }
        match mkdirat(&parent, name, Mode::RWXU) {
            Ok(()) => {
                // A parent that cannot be opened for reading cannot be synced. A power failure may
                // then lose the whole directory, but never a part of an entry.
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                if let Ok(parent) = openat(&parent, name.join(".."), flags, Mode::empty()) {
                    sync_directory(parent, path)?;
                }
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(StorageError::writing("create", path, error)),
        }
    }
    open_directory(parent, name, path)?
        .ok_or_else(|| StorageError::writing("create", path, Errno::NOENT))
}

/// Waits until the names in a directory have reached the disk.
pub(in crate::disk) fn sync_directory(
    directory: impl AsFd,
    path: &Path,
) -> Result<(), StorageError> {
    match fsync(directory) {
        // Some network file systems do not support syncing directories, and do not need it.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(StorageError::writing("sync", path, error)),
    }
}

/// The result of opening a file by name.
#[derive(Debug)]
pub(in crate::disk) enum Opened {
    /// There is no such file.
    Absent,
    /// The cache did not put this there; the text says why.
    Rejected(&'static str),
    /// A regular file that only this user can have changed, open for reading.
    Private(File, Stat),
}

/// Opens a file that must be private to this user.
pub(in crate::disk) fn open_file(directory: impl AsFd, name: &str) -> io::Result<Opened> {
    let file = match openat(directory, name, OPEN | OFlags::RDONLY, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(Opened::Absent),
        Err(Errno::LOOP) => return Ok(Opened::Rejected("a symbolic link")),
        Err(Errno::NXIO | Errno::NODEV) => {
            return Ok(Opened::Rejected("a socket or device"));
        }
        Err(Errno::ACCESS) => return Ok(Opened::Rejected("not readable")),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&file)?;
    let unfit = if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        Some("not a regular file")
    } else if stat.st_uid != geteuid().as_raw() {
        Some("another user's")
    } else if stat.st_mode & 0o7777 & !0o600 != 0 {
        Some("open to others, or executable")
    } else if stat.st_nlink > 1 {
        // Another name for the file may allow others to write into it.
        Some("a hard link")
    } else {
        None
    };
    Ok(unfit.map_or_else(|| Opened::Private(file, stat), Opened::Rejected))
}

/// Lists the names in a directory with their `stat`; links are not followed.
pub(in crate::disk) fn names_in(directory: impl AsFd) -> rustix::io::Result<Vec<(String, Stat)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        // The cache writes only UTF-8 names.
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if name == "." || name == ".." {
            continue;
        }
        match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => names.push((name.to_owned(), stat)),
            // Removed since the directory was read.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(names)
}
