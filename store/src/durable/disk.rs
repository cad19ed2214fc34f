//! The storage engine: one database directory with three maps.

use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::OpenError;
use super::record::FORMAT;

/// The engine's cache, in bytes. Only the start and the removal of garbage read data.
const CACHE_BYTES: u64 = 1 << 20;
/// Bytes of a map that stay in memory before they are written out as a table.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Most bytes of the journals.
const JOURNAL_BYTES: u64 = 256 << 20;

pub(super) struct Disk {
    /// Kept for its lifetime: dropping the last handle closes the files.
    pub(super) database: Database,
    pub(super) keys: Keyspace,
    pub(super) elements: Keyspace,
    pub(super) meta: Keyspace,
}

/// The directory of this format inside the data directory.
pub(super) fn versioned(directory: &Path) -> PathBuf {
    directory.join("v1")
}

impl Disk {
    pub(super) fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = versioned(directory);
        let engine = |source| OpenError::Engine {
            path: path.clone(),
            source: Box::new(source),
        };
        let database = Database::builder(&path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .open()
            .map_err(engine)?;
        let map = |name: &str| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            database.keyspace(name, options).map_err(engine)
        };
        let disk = Self {
            keys: map("keys")?,
            elements: map("elements")?,
            meta: map("meta")?,
            database: database.clone(),
        };
        match disk.meta.get("format").map_err(engine)? {
            None => {
                disk.meta.insert("format", FORMAT).map_err(engine)?;
                disk.database
                    .persist(PersistMode::SyncAll)
                    .map_err(engine)?;
            }
            Some(found) if *found == *FORMAT.as_bytes() => {}
            Some(found) => {
                return Err(OpenError::Format {
                    path,
                    found: String::from_utf8_lossy(&found).into_owned(),
                    expected: FORMAT,
                });
            }
        }
        Ok(disk)
    }
}

/// Free space of the file system that a directory is on, in bytes.
pub(super) fn free_bytes(directory: &Path) -> std::io::Result<u64> {
    let figures = rustix::fs::statvfs(directory)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}
