//! Durability: writes the effects of commits to disk, and reads them back at the next start.
//!
//! Memory is the truth while the process runs; the disk follows. Every commit hands its effects to
//! a queue under the locks it holds, so the queue is in commit order for every key. One thread
//! takes all waiting commits and writes them as one atomic batch: that is the group commit. A batch
//! holds whole commits only, so a crash leaves the state after some commit.

mod backup;
mod changes;
mod commits;
mod damage;
mod disk;
mod encode;
mod garbage;
mod load;
mod pending;
mod queue;
mod read_ahead;
mod receipt;
mod record;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

pub use backup::BackupError;
pub(crate) use commits::OwnEffects;
pub(crate) use load::open;
pub(crate) use queue::Queue;
pub use receipt::Receipt;
pub(crate) use writer::Handle;

/// Time at which a write counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on disk: its receipt waits for the sync. All commits that wait at the time share
    /// one sync.
    Always,
    /// At once; the disk is synced every second. A crash of the process loses some milliseconds of
    /// writes that the system has not got yet; a crash of the machine loses about a second.
    #[default]
    EverySecond,
    /// At once; the system decides when to sync.
    No,
}

/// Directory and durability of a store's data.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// A directory for this store alone; created if it does not exist.
    pub directory: PathBuf,
    /// Time at which a write counts as done.
    pub durability: Durability,
    /// Free space of the file system, in bytes, below which writes are refused: a full disk would
    /// do more harm.
    pub free_bytes_min: u64,
    /// Most bytes of commits that wait to be written; beyond it, plain writes wait too.
    pub queue_bytes_max: usize,
    /// Time without writes after which the engine's maps in memory become tables.
    pub rest_after: Duration,
}

impl DiskOptions {
    /// The defaults for a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            durability: Durability::default(),
            free_bytes_min: 32 << 20,
            queue_bytes_max: 64 << 20,
            rest_after: Duration::from_secs(10),
        }
    }
}

/// State of the way to the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskStatus {
    /// The reason that the disk takes no writes at present; `None` if it does.
    pub failure: Option<Box<str>>,
    /// Time since it began to fail; zero if it does not.
    pub failing_for: Duration,
    /// Writes and syncs that failed since the store was opened.
    pub failures: u64,
    /// Commits that are not written yet.
    pub waiting_commits: u64,
    /// Memory of those commits, in bytes.
    pub waiting_bytes: usize,
    /// Commits that are not synced yet.
    pub unsynced_commits: u64,
}

/// Reason why closing a store left something behind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{lost} commits could not be written and are lost with the process, {unsynced} are written but not synced: {cause}"
)]
pub struct CloseError {
    /// Commits that are not on disk.
    pub lost: u64,
    /// Commits that the system has taken and that only a crash of the machine can lose.
    pub unsynced: u64,
    /// The reason that the disk did not take them, or did not sync what it took.
    pub cause: Box<str>,
}

/// Reason why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory cannot be made or read.
    #[error("cannot use the data directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Another process uses the directory.
    #[error("the data in {} is in use by another process; stop it, or choose another directory", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The storage engine refused it.
    #[error("cannot open the data in {}", path.display())]
    Engine {
        /// The directory.
        path: PathBuf,
        /// The engine's error.
        #[source]
        source: Box<fjall::Error>,
    },
    /// The data was written by another version.
    #[error("the data in {} has the format {found}, and this version reads formats up to {expected}: use the version that wrote it", path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// The format found.
        found: String,
        /// The newest format that this version reads.
        expected: &'static str,
    },
    /// Written data is missing or has changed.
    #[error("the data in {} is damaged: {what}; restore it from a copy", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// Description of the damage.
        what: String,
    },
}
