//! Files of engines that this process has read and checked already.
//!
//! Many functions share an engine, and an engine has megabytes. Its file is written once and never again, so
//! a process need not read it for each of its functions: it is enough that the same file has not changed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;

use crate::digest::Digest;

/// Most engines that are remembered; further ones are read each time.
const SEEN_MAX: usize = 64;

/// The files that had the bytes of their digests.
#[derive(Debug, Default)]
pub(in crate::disk) struct SeenFiles(Mutex<HashMap<Digest, FileState>>);

/// Mark that is different for every other file, and after every change of this one: the time of the last change
/// of status is set by the kernel alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    device: i128,
    inode: i128,
    len: i128,
    changed: (i128, i128),
}

impl FileState {
    #[allow(
        clippy::useless_conversion,
        reason = "the fields have other types on other systems"
    )]
    fn of(stat: &Stat) -> Self {
        Self {
            device: i128::from(stat.st_dev),
            inode: i128::from(stat.st_ino),
            len: i128::from(stat.st_size),
            changed: (i128::from(stat.st_ctime), i128::from(stat.st_ctime_nsec)),
        }
    }
}

impl SeenFiles {
    /// Returns true if the file with this `stat` had the bytes of the digest, and has not changed since.
    pub(in crate::disk) fn knows(&self, digest: &Digest, stat: &Stat) -> bool {
        self.files().get(digest) == Some(&FileState::of(stat))
    }

    /// Records that the file with this `stat`, taken before it was read, has the bytes of the digest.
    pub(in crate::disk) fn note(&self, digest: Digest, stat: &Stat) {
        let mut files = self.files();
        if files.len() < SEEN_MAX || files.contains_key(&digest) {
            files.insert(digest, FileState::of(stat));
        }
    }

    fn files(&self) -> MutexGuard<'_, HashMap<Digest, FileState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
