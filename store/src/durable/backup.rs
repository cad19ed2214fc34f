//! Copies the data of a running store into another directory: its state after one commit.

use std::path::{Path, PathBuf};

use fjall::{Keyspace, PersistMode, Readable as _, Snapshot};
use thiserror::Error;

use super::OpenError;
use super::damage::mark::Mark;
use super::disk::{Disk, versioned};
use super::record::{COMMIT, CommitNumbers};

/// Records of one batch of the copy.
const BATCH_LEN: usize = 4096;

/// Bytes after which a batch of the copy is written, however few records it has.
const BATCH_BYTES: usize = 4 << 20;

/// Reason why there is no copy.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The store is in memory alone.
    #[error("the data is in memory alone (store.persistent = false), so there is nothing to copy")]
    InMemory,
    /// The disk takes no writes, so it lacks the last commits.
    #[error("the data on disk is not up to date: {0}")]
    Disk(Box<str>),
    /// The copy cannot be written.
    #[error("cannot write the copy")]
    Target(#[from] OpenError),
    /// The data cannot be read, or the copy cannot be written.
    #[error("cannot copy the data to {}", path.display())]
    Copy {
        /// The directory of the copy.
        path: PathBuf,
        /// The error of the storage engine.
        #[source]
        source: Box<fjall::Error>,
    },
    /// The directory of the copy cannot be used.
    #[error("cannot use the directory {}", path.display())]
    Directory {
        /// The directory of the copy.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

/// The data on disk after one commit. While it exists, later commits change other copies.
pub(super) struct DiskSnapshot {
    disk: Disk,
    snapshot: Snapshot,
    /// The number of the commit.
    pub(super) commit: u64,
}

impl DiskSnapshot {
    pub(super) fn new(disk: &Disk, commit: u64) -> Self {
        Self {
            snapshot: disk.database.snapshot(),
            disk: disk.clone(),
            commit,
        }
    }

    /// Writes the data into `directory`, which a store can then open.
    pub(super) fn copy(&self, directory: &Path) -> Result<(), BackupError> {
        std::fs::create_dir_all(directory).map_err(|source| BackupError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        let target = Disk::open(directory)?;
        let failed = |source| BackupError::Copy {
            path: versioned(directory),
            source: Box::new(source),
        };
        for (from, to) in [
            (&self.disk.keys, &target.keys),
            (&self.disk.elements, &target.elements),
            (&self.disk.meta, &target.meta),
        ] {
            self.copy_map(from, &target, to).map_err(failed)?;
        }
        // It begins with this commit.
        let numbers = CommitNumbers {
            previous: Some(0),
            last: self.commit,
            settled: Some(self.commit),
        };
        target
            .meta
            .insert(COMMIT, numbers.to_bytes())
            .map_err(failed)?;
        target
            .database
            .persist(PersistMode::SyncAll)
            .map_err(failed)?;
        Mark::open(directory)
            .and_then(|mark| mark.set(self.commit))
            .map_err(|source| BackupError::Directory {
                path: directory.to_owned(),
                source,
            })
    }

    fn copy_map(&self, from: &Keyspace, target: &Disk, to: &Keyspace) -> fjall::Result<()> {
        let mut batch = target.database.batch();
        let mut bytes = 0;
        for guard in self.snapshot.iter(from) {
            let (key, value) = guard.into_inner()?;
            bytes += key.len() + value.len();
            batch.insert(to, key, value);
            if batch.len() >= BATCH_LEN || bytes >= BATCH_BYTES {
                let full = std::mem::replace(&mut batch, target.database.batch());
                full.durability(Some(PersistMode::Buffer)).commit()?;
                bytes = 0;
            }
        }
        batch.durability(Some(PersistMode::Buffer)).commit()
    }
}
