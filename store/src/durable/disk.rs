//! The storage engine: one database directory with four maps.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::OpenError;
use super::record::{COMMIT, CommitNumbers, FORMAT, FORMATS_BEFORE};

/// The engine's cache, in bytes. Only the start and the removal of garbage read data.
const CACHE_BYTES: u64 = 1 << 20;
/// Most files of tables that stay open; a start with more opens some again.
const OPEN_TABLES_MAX: usize = 64;
/// Bytes of a map that stay in memory before they are written out as a table.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// The same for the map `meta`, of which the engine keeps the numbers of every batch until then.
const META_BYTES: u64 = 2 << 20;
/// The same for the map `log`, once its changes are in the other maps.
const LOG_BYTES: u64 = 8 << 20;
/// Most bytes of the journals.
const JOURNAL_BYTES: u64 = 256 << 20;

/// A closed store leaves at most this many bytes in the journal: a start reads one in twice the time that it
/// takes to read a table.
const JOURNAL_LEFT_BYTES: u64 = 4 << 20;

/// Time between two looks at the engine while it writes tables.
const TABLE_POLL_INTERVAL: Duration = Duration::from_millis(5);

#[derive(Clone)]
pub(super) struct Disk {
    /// Kept for its lifetime: dropping the last handle closes the files.
    pub(super) database: Database,
    pub(super) keys: Keyspace,
    pub(super) elements: Keyspace,
    pub(super) meta: Keyspace,
    pub(super) log: Keyspace,
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
        let folder = File::open(directory).map_err(unusable)?;
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
            log: map("log")?,
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
            Some(found)
                if FORMATS_BEFORE
                    .iter()
                    .any(|known| *found == *known.as_bytes()) => {}
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
    /// Bytes that the maps hold in memory until they become tables.
    pub(super) fn bytes_in_memory(&self) -> u64 {
        self.database.write_buffer_size()
    }

    /// Has the engine write a table of the map `meta`, on its own thread, if that has much in memory: a number of each
    /// batch, of which only the last is of use.
    pub(super) fn bound_meta(&self) -> fjall::Result<()> {
        if self.meta.tree.active_memtable().size() > META_BYTES {
            self.meta.rotate_memtable()?;
        }
        Ok(())
    }

    /// Has the engine write a table of the map `log`, on its own thread, if that has much in memory. Nothing is left of
    /// what it had once the maps have its changes.
    pub(super) fn bound_log(&self) -> fjall::Result<()> {
        if self.log.tree.active_memtable().size() > LOG_BYTES {
            self.log.rotate_memtable()?;
        }
        Ok(())
    }

    /// Has the engine begin to write these bytes into tables, on its own thread.
    pub(super) fn begin_rest(&self) -> fjall::Result<()> {
        for map in self.maps() {
            map.rotate_memtable()?;
        }
        Ok(())
    }

    /// Has the engine free these bytes, if it has written them; returns false if it has not.
    ///
    /// It keeps the maps of before until another table is begun, so the number of the last commit is
    /// written once more, into a table of its own.
    pub(super) fn end_rest(&self, commit: u64) -> fjall::Result<bool> {
        if self.is_writing_tables() {
            return Ok(false);
        }
        let numbers = CommitNumbers::none_after(commit);
        self.meta.insert(COMMIT, numbers.to_bytes())?;
        self.meta.rotate_memtable()?;
        Ok(true)
    }

    fn maps(&self) -> [&Keyspace; 4] {
        [&self.keys, &self.elements, &self.meta, &self.log]
    }

    fn is_writing_tables(&self) -> bool {
        let mut maps = self.maps().into_iter();
        maps.any(|map| map.sealed_memtable_count() > 0)
    }

    /// Returns the number of the last commit; `None` if there is a record that is no number.
    pub(super) fn commit(&self) -> fjall::Result<Option<u64>> {
        let numbers = self.commit_numbers()?;
        Ok(numbers.map(|numbers| numbers.last))
    }

    /// Returns the numbers of the last batch; `None` if there is a record that has none.
    pub(super) fn commit_numbers(&self) -> fjall::Result<Option<CommitNumbers>> {
        Ok(match self.meta.get(COMMIT)? {
            None => Some(CommitNumbers::none_after(0)),
            Some(bytes) => CommitNumbers::parse(&bytes),
        })
    }

    /// Notes that from now on this version's format is written, which earlier versions do not read.
    pub(super) fn raise_format(&self) -> fjall::Result<()> {
        if self
            .meta
            .get("format")?
            .is_some_and(|found| *found == *FORMAT.as_bytes())
        {
            return Ok(());
        }
        self.meta.insert("format", FORMAT)?;
        self.database.persist(PersistMode::SyncAll)
    }

    /// Writes everything that only the journal has into new tables, and syncs them.
    pub(super) fn store_anew(&self) -> fjall::Result<()> {
        self.begin_rest()?;
        while self.is_writing_tables() {
            // Fails if the engine's own thread failed, which then writes no more.
            self.database.persist(PersistMode::Buffer)?;
            std::thread::sleep(TABLE_POLL_INTERVAL);
        }
        self.database.persist(PersistMode::SyncAll)
    }
}

impl Disk {
    /// Empties the journal if it is long, once all that it has is in tables. Nothing may be written any more.
    pub(super) fn empty_journal(&self, directory: &Path) -> Result<(), EmptyJournalError> {
        let Some(journal) = only_journal(&versioned(directory))? else {
            return Ok(());
        };
        // Most of the file may be room that is reserved, and not used.
        if used_bytes(&journal)? <= JOURNAL_LEFT_BYTES {
            return Ok(());
        }
        self.store_anew()?;
        // The engine may have begun a new journal; that it does not need the old one is its own matter then.
        if only_journal(&versioned(directory))?.as_ref() == Some(&journal) {
            let file = File::options().write(true).open(&journal)?;
            file.set_len(0)?;
            file.sync_all()?;
        }
        Ok(())
    }
}

/// Reason why a journal was not emptied. It is read by the next start, then.
#[derive(Debug, thiserror::Error)]
pub(super) enum EmptyJournalError {
    /// The engine did not write a table.
    #[error(transparent)]
    Engine(#[from] fjall::Error),
    /// The file cannot be read or changed.
    #[error(transparent)]
    File(#[from] std::io::Error),
}

/// Returns the engine's journal; `None` if it has several.
fn only_journal(folder: &Path) -> std::io::Result<Option<PathBuf>> {
    let mut found = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl")
            && found.replace(path).is_some()
        {
            return Ok(None);
        }
    }
    Ok(found)
}

/// Bytes of a file that the file system keeps.
fn used_bytes(path: &Path) -> std::io::Result<u64> {
    /// Bytes of a block in `st_blocks`, whatever the file system's own blocks are.
    const BLOCK: u64 = 512;
    Ok(std::fs::metadata(path)?.blocks() * BLOCK)
}

/// Free space of the file system that a directory is on, in bytes.
pub(super) fn free_bytes(directory: &Path) -> std::io::Result<u64> {
    let figures = rustix::fs::statvfs(directory)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

#[cfg(test)]
mod tests {
    use fjall::AbstractTree as _;

    use super::{Disk, JOURNAL_LEFT_BYTES, META_BYTES, only_journal, used_bytes, versioned};
    use crate::durable::damage::chain::first_gap;
    use crate::durable::record::{COMMIT, CommitNumbers};

    /// 64 KiB that no compression makes shorter.
    fn value(number: u64) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(number);
        std::iter::repeat_with(|| random.u8(..))
            .take(64 << 10)
            .collect()
    }

    /// Writes values under numbers in this range.
    fn write(disk: &Disk, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let (name, value) = (number.to_be_bytes(), value(number));
            disk.keys.insert(name, value).expect("written");
        }
        let persist = disk.database.persist(fjall::PersistMode::SyncAll);
        persist.expect("persisted");
    }

    fn values_are_there(disk: &Disk, count: u64) {
        for number in 0..count {
            let found = disk.keys.get(number.to_be_bytes()).expect("readable");
            assert!(
                found.is_some_and(|found| *found == *value(number)),
                "{number}"
            );
        }
        assert_eq!(disk.keys.iter().count() as u64, count);
    }

    #[test]
    fn numbers_of_batches_do_not_gather_in_memory() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::open(folder.path()).expect("an empty folder");
        let mut most = 0;
        for last in 1..=60_000_u64 {
            let numbers = CommitNumbers {
                previous: Some(last - 1),
                last,
                settled: Some(last),
            };
            let meta = &disk.meta;
            meta.insert(COMMIT, numbers.to_bytes()).expect("written");
            disk.bound_meta().expect("it works");
            most = most.max(meta.tree.active_memtable().size());
        }
        assert!(most > META_BYTES / 2 && most <= META_BYTES, "{most}");
        assert_eq!(disk.commit().expect("readable"), Some(60_000));
        drop(disk);
        let disk = Disk::open(folder.path()).expect("closed");
        assert_eq!(disk.commit().expect("readable"), Some(60_000));
        let gap = first_gap(&disk, &versioned(folder.path())).expect("readable");
        assert!(gap.is_none(), "{gap:?}");
    }

    #[test]
    fn a_long_journal_is_emptied_and_what_it_had_is_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path();
        let used = || {
            let journal = only_journal(&versioned(folder)).expect("readable");
            used_bytes(&journal.expect("there is one")).expect("readable")
        };
        let disk = Disk::open(folder).expect("an empty folder");
        write(&disk, 0..10);
        let short = used();
        disk.empty_journal(folder).expect("nothing to do");
        assert!(short > 0 && used() == short, "a short one stays");
        write(&disk, 10..100);
        assert!(used() > JOURNAL_LEFT_BYTES);
        disk.empty_journal(folder).expect("emptied");
        assert_eq!(used(), 0);
        drop(disk);

        // What is written next goes into the same journal, and is newer than what is in tables.
        let disk = Disk::open(folder).expect("closed");
        values_are_there(&disk, 100);
        disk.keys.remove(99_u64.to_be_bytes()).expect("removed");
        write(&disk, 0..1);
        drop(disk);
        let disk = Disk::open(folder).expect("closed");
        values_are_there(&disk, 99);
    }
}
