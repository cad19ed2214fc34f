//! The storage engine: one database directory with three maps.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::OpenError;
use super::record::FORMAT;

/// The engine's cache, in bytes. Only the start and the removal of garbage read data.
const CACHE_BYTES: u64 = 1 << 20;
/// Most files of tables that stay open; a start with more opens some again.
const OPEN_TABLES_MAX: usize = 64;
/// Bytes of a map that stay in memory before they are written out as a table.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Most bytes of the journals.
const JOURNAL_BYTES: u64 = 256 << 20;

/// Time between two looks at the engine while it writes tables.
const TABLE_POLL_INTERVAL: Duration = Duration::from_millis(5);

#[derive(Clone)]
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
    /// Opens the data in a directory; makes it if there is none.
    pub(super) fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = versioned(directory);
        if !path.exists() {
            Self::create(directory, &path)?;
        }
        Self::open_at(path)
    }

    /// Makes the data of a new directory. It gets its name when it is complete: the engine cannot open
    /// what it was making when the process ended.
    fn create(directory: &Path, path: &Path) -> Result<(), OpenError> {
        let unusable = |source| OpenError::Directory {
            path: directory.to_owned(),
            source,
        };
        let unfinished = directory.join("v1.unfinished");
        match std::fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(unusable(error));
            }
            _ => {}
        }
        drop(Self::open_at(unfinished.clone())?);
        std::fs::rename(&unfinished, path).map_err(unusable)?;
        let folder = std::fs::File::open(directory).map_err(unusable)?;
        folder.sync_all().map_err(unusable)
    }

    fn open_at(path: PathBuf) -> Result<Self, OpenError> {
        let engine = |source| match source {
            fjall::Error::Locked => OpenError::Locked { path: path.clone() },
            source => OpenError::Engine {
                path: path.clone(),
                source: Box::new(source),
            },
        };
        let database = Database::builder(&path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(OPEN_TABLES_MAX))
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

impl Disk {
    /// Returns the number of the last commit; `None` if there is a record that is no number.
    pub(super) fn commit(&self) -> fjall::Result<Option<u64>> {
        Ok(match self.meta.get("commit")? {
            None => Some(0),
            Some(bytes) => bytes.as_ref().try_into().map(u64::from_be_bytes).ok(),
        })
    }

    /// Writes everything that only the journal has into new tables, and syncs them.
    pub(super) fn store_anew(&self) -> fjall::Result<()> {
        let maps = [&self.keys, &self.elements, &self.meta];
        for map in maps {
            map.rotate_memtable()?;
        }
        while maps.iter().any(|map| map.sealed_memtable_count() > 0) {
            // Fails if the engine's own thread failed, which then writes no more.
            self.database.persist(PersistMode::Buffer)?;
            std::thread::sleep(TABLE_POLL_INTERVAL);
        }
        self.database.persist(PersistMode::SyncAll)
    }
}

/// Free space of the file system that a directory is on, in bytes.
pub(super) fn free_bytes(directory: &Path) -> std::io::Result<u64> {
    let figures = rustix::fs::statvfs(directory)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}
