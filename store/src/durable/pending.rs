//! Changes that are on disk in the log alone, until they go into the maps.
//!
//! The engine takes about a microsecond for each record of a map, however often the record changes. So a batch is
//! first written to the map `log`, as one record, and its changes are gathered in memory, of each record the last.
//! Now and then these go into the maps, in one batch that also empties the log. A start does the same with what it
//! finds in the log.
//!
//! If hardly any record changes twice, the log is of no use, and for some time batches go into the maps at once.

use std::ops::Range;

use fjall::OwnedWriteBatch as WriteBatch;
use thiserror::Error;

use super::changes::Changes;
use super::disk::Disk;
use super::record::{COMMIT, CommitNumbers, Draft, SPACES};

/// Most records that are gathered: more than this takes the engine noticeably long.
const RECORDS_MAX: usize = 20_000;
/// Most bytes of the gathered changes, and of the log.
const BYTES_MAX: usize = 8 << 20;
/// The log is of use if it has at least this many changes of each record, on average.
const CHANGES_OF_A_RECORD_MIN: usize = 2;
/// Number of changes after which it is tried again whether the log is of use.
const WITHOUT_LOG: usize = 10 * RECORDS_MAX;

/// A map that has records of keys and their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Map {
    Keys,
    Elements,
}

/// Tags of changes in the log.
const PUT: u8 = 0;
const REMOVE: u8 = 1;
const OF_ELEMENTS: u8 = 2;

/// A batch for the engine.
pub(super) struct Encoded {
    pub(super) batch: WriteBatch,
    /// True if the maps have everything once it is written.
    pub(super) log_is_empty: bool,
}

/// The reason why the log cannot be read.
#[derive(Debug, Error)]
pub(super) enum LogError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] fjall::Error),
    /// The name of a record is not the number of a commit.
    #[error("a record of its log has no number of a commit")]
    Name,
    /// The log has changes up to this commit that are in the maps already. So a batch of the engine is missing, and
    /// they may be older than what the maps have.
    #[error("its log still has commit {0}: a batch of its journal is missing")]
    Settled(u64),
    /// The changes of a record, which end with this commit, cannot be read.
    #[error("its log cannot be read at commit {0}")]
    Changes(u64),
}

/// Changes that are not in the maps yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    keys: Changes,
    elements: Changes,
    /// The memory of a record of the log.
    entry: Vec<u8>,
    /// Names of the records of the log that are on disk.
    logged: Vec<[u8; 8]>,
    /// Bytes of these records.
    logged_bytes: usize,
    /// Number of changes that were gathered since the maps got the last ones.
    gathered: usize,
    /// Number of changes for which the log is not tried.
    without_log: usize,
    /// The last commit whose changes are in the maps.
    settled: u64,
}

impl Pending {
    /// None, if the maps have everything up to this commit.
    pub(super) fn new(settled: u64) -> Self {
        Self {
            settled,
            ..Self::default()
        }
    }

    /// Reads what the log has.
    pub(super) fn read(disk: &Disk) -> Result<Self, LogError> {
        let numbers = disk.commit_numbers()?;
        let mut pending = Self::new(numbers.and_then(|numbers| numbers.settled).unwrap_or(0));
        for record in disk.log.iter() {
            let (name, entry) = record.into_inner()?;
            let number = name[..].try_into().map_err(|_| LogError::Name)?;
            let commit = u64::from_be_bytes(number);
            if commit <= pending.settled {
                return Err(LogError::Settled(commit));
            }
            pending.replay(&entry).ok_or(LogError::Changes(commit))?;
            pending.logged.push(number);
            pending.logged_bytes += entry.len();
        }
        Ok(pending)
    }

    /// True if the maps have everything.
    pub(super) fn is_empty(&self) -> bool {
        self.logged.is_empty()
    }

    /// Begins a batch. What was added to one that was not written is in the log again once the disk is read anew.
    pub(super) fn begin(&mut self) {
        self.keys.begin();
        self.elements.begin();
    }

    /// Adds the change that a record has this value.
    pub(super) fn put(&mut self, map: Map, draft: &Draft) {
        self.set(map, &draft.key, Some(&draft.value));
    }

    /// Adds the change that there is no such record.
    pub(super) fn remove(&mut self, map: Map, draft: &Draft) {
        self.set(map, &draft.key, None);
    }

    fn set(&mut self, map: Map, key: &[u8], value: Option<&[u8]>) {
        self.gathered += 1;
        match map {
            Map::Keys => self.keys.set(key, value),
            Map::Elements => self.elements.set(key, value),
        }
    }

    /// Adds the changes of a record of the log; `None` if it cannot be read.
    fn replay(&mut self, mut entry: &[u8]) -> Option<()> {
        while let Some((&tag, rest)) = entry.split_first() {
            let map = match tag & OF_ELEMENTS {
                0 => Map::Keys,
                _ => Map::Elements,
            };
            let (key, rest) = split_bytes(rest)?;
            let (value, rest) = match tag & !OF_ELEMENTS {
                PUT => {
                    let (value, rest) = split_bytes(rest)?;
                    (Some(value), rest)
                }
                REMOVE => (None, rest),
                _ => return None,
            };
            self.set(map, key, value);
            entry = rest;
        }
        Some(())
    }

    /// Returns the batch that was begun, with the numbers of the last commit before it and of its own last one. It goes
    /// into the maps, with everything before it, if `now`.
    pub(super) fn finish(
        &mut self,
        disk: &Disk,
        commits: Range<u64>,
        spaces: Option<Vec<u8>>,
        now: bool,
    ) -> Encoded {
        let records = self.keys.len() + self.elements.len();
        let bytes = self.keys.bytes() + self.elements.bytes();
        let is_logging = self.without_log == 0;
        let is_full = records > RECORDS_MAX
            || bytes > BYTES_MAX
            || is_logging && self.logged_bytes + self.entry_len() > BYTES_MAX;
        // A batch that could not be written, and is there after all, is written again.
        let is_again = commits.end <= self.settled;
        let goes_into_maps = now || is_full || is_again || !is_logging;
        let mut batch = if goes_into_maps {
            self.without_log = if is_full && self.gathered < CHANGES_OF_A_RECORD_MIN * records {
                WITHOUT_LOG
            } else {
                self.without_log.saturating_sub(self.gathered)
            };
            self.empty_into_maps(disk, commits.end)
        } else {
            self.write_entry();
            let mut batch = WriteBatch::with_capacity(disk.database.clone(), 3);
            let name = commits.end.to_be_bytes();
            batch.insert(&disk.log, name, &self.entry[..]);
            self.logged.push(name);
            self.logged_bytes += self.entry.len();
            batch
        };
        if let Some(spaces) = spaces {
            batch.insert(&disk.meta, SPACES, spaces);
        }
        let numbers = CommitNumbers {
            previous: Some(commits.start),
            last: commits.end,
            settled: Some(self.settled),
        };
        batch.insert(&disk.meta, COMMIT, numbers.to_bytes());
        Encoded {
            batch,
            log_is_empty: goes_into_maps,
        }
    }

    /// The changes of the present batch, with the tags of their maps.
    fn of_batch(&self) -> impl Iterator<Item = (u8, &[u8], Option<&[u8]>)> {
        let keys = self.keys.of_batch();
        let elements = self.elements.of_batch();
        let keys = keys.map(|(key, value)| (0, key, value));
        keys.chain(elements.map(|(key, value)| (OF_ELEMENTS, key, value)))
    }

    /// Length of the present batch's record in the log, in bytes.
    fn entry_len(&self) -> usize {
        self.of_batch()
            .map(|(_, key, value)| {
                let value = value.map_or(0, |value| size_of::<u32>() + value.len());
                1 + size_of::<u32>() + key.len() + value
            })
            .sum()
    }

    /// Writes the present batch's record in the log, which is not longer than the log may be.
    fn write_entry(&mut self) {
        let mut entry = std::mem::take(&mut self.entry);
        entry.clear();
        for (of_map, key, value) in self.of_batch() {
            entry.push(of_map | if value.is_some() { PUT } else { REMOVE });
            for bytes in [Some(key), value].into_iter().flatten() {
                entry.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
                entry.extend_from_slice(bytes);
            }
        }
        self.entry = entry;
    }

    /// Returns a batch that brings everything up to this commit, the last one, into the maps.
    pub(super) fn settle(&mut self, disk: &Disk, commit: u64) -> WriteBatch {
        let mut batch = self.empty_into_maps(disk, commit);
        let numbers = CommitNumbers::none_after(commit);
        batch.insert(&disk.meta, COMMIT, numbers.to_bytes());
        batch
    }

    /// Gives back the memory that is kept for the next changes, if the maps have all there were.
    pub(super) fn free(&mut self) {
        if self.is_empty() {
            self.keys.free();
            self.elements.free();
            self.entry = Vec::new();
            self.logged = Vec::new();
        }
    }

    fn empty_into_maps(&mut self, disk: &Disk, commit: u64) -> WriteBatch {
        self.settled = commit;
        let records = self.keys.len() + self.elements.len() + self.logged.len() + 2;
        let mut batch = WriteBatch::with_capacity(disk.database.clone(), records);
        for (map, changes) in [
            (&disk.keys, &mut self.keys),
            (&disk.elements, &mut self.elements),
        ] {
            // The engine copies them: in this order, so that neighbours lie side by side in its memory.
            changes.take(|key, value| match value {
                Some(value) => batch.insert(map, key, value),
                None => batch.remove(map, key),
            });
        }
        for name in self.logged.drain(..) {
            batch.remove(&disk.log, name);
        }
        self.logged_bytes = 0;
        self.gathered = 0;
        self.entry.clear();
        self.entry.shrink_to(BYTES_MAX / 8);
        batch
    }
}

/// Splits off bytes that their length (u32) precedes.
fn split_bytes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Inputs in a plain run; `FERRITE_FUZZ_INPUTS` sets another number.
    const INPUTS: u32 = 20_000;

    type Records = BTreeMap<Vec<u8>, Vec<u8>>;

    fn draft(key: &[u8], value: &[u8]) -> Draft {
        Draft {
            key: key.to_vec(),
            value: value.to_vec(),
        }
    }

    fn records(map: &fjall::Keyspace) -> Records {
        map.iter()
            .map(|record| {
                let (key, value) = record.into_inner().expect("readable");
                (key.to_vec(), value.to_vec())
            })
            .collect()
    }

    fn log_len(disk: &Disk) -> usize {
        records(&disk.log).values().map(Vec::len).sum()
    }

    /// Writes a batch; returns true if it went into the maps.
    fn write(pending: &mut Pending, disk: &Disk, number: u64, now: bool) -> bool {
        let Encoded {
            batch,
            log_is_empty,
        } = pending.finish(disk, number - 1..number, None, now);
        batch.commit().expect("written");
        log_is_empty
    }

    #[test]
    fn whatever_ends_in_between_the_maps_get_every_change() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let disk = Disk::open(folder.path()).expect("an empty directory");
        let mut random = fastrand::Rng::with_seed(7);
        let mut pending = Pending::default();
        let mut expected = [Records::new(), Records::new()];
        let (mut in_log, mut in_maps) = (0, 0);
        for number in 1..=600 {
            pending.begin();
            for _ in 0..random.usize(..60) {
                let key = random.u32(..300).to_string().into_bytes();
                let value = vec![random.u8(..); random.usize(..3_000)];
                let (map, at) = *random
                    .choice(&[(Map::Keys, 0), (Map::Elements, 1)])
                    .expect("two");
                if random.u8(..4) == 0 {
                    pending.remove(map, &draft(&key, b""));
                    expected[at].remove(&key);
                } else {
                    pending.put(map, &draft(&key, &value));
                    expected[at].insert(key, value);
                }
            }
            if write(&mut pending, &disk, number, random.u8(..100) == 0) {
                in_maps += 1;
                assert_eq!(log_len(&disk), 0);
            } else {
                in_log += 1;
                assert!(log_len(&disk) <= BYTES_MAX);
            }
            match random.u8(..60) {
                0 => {
                    let batch = pending.settle(&disk, number);
                    batch.commit().expect("written");
                }
                // The process ends, and another one begins.
                1 => {
                    pending = Pending::read(&disk).expect("readable");
                    if random.bool() {
                        let batch = pending.settle(&disk, number);
                        batch.commit().expect("written");
                    }
                }
                _ => {}
            }
            assert_eq!(disk.commit().expect("readable"), Some(number));
        }
        assert!(in_log > 100 && in_maps > 4, "{in_log} {in_maps}");
        let mut pending = Pending::read(&disk).expect("readable");
        let batch = pending.settle(&disk, 600);
        batch.commit().expect("written");
        assert_eq!(log_len(&disk), 0);
        assert_eq!([records(&disk.keys), records(&disk.elements)], expected);
    }

    #[test]
    fn the_log_is_left_out_while_hardly_any_record_changes_twice() {
        const BATCH: usize = 1_000;
        let folder = tempfile::tempdir().expect("a temporary directory");
        let disk = Disk::open(folder.path()).expect("an empty directory");
        let mut pending = Pending::default();
        let mut number = 0;
        let mut batch = |of_each_other: bool| {
            number += 1;
            pending.begin();
            for at in 0..BATCH {
                let key = if of_each_other {
                    number * BATCH as u64 + at as u64
                } else {
                    at as u64
                };
                pending.put(Map::Keys, &draft(&key.to_be_bytes(), b"value"));
            }
            write(&mut pending, &disk, number, false)
        };
        // Different records fill the log, and after it there is none for some time.
        let until_full = RECORDS_MAX / BATCH;
        assert!((0..until_full).all(|_| !batch(true)));
        assert!(batch(true));
        let without = WITHOUT_LOG / BATCH;
        assert!((0..without).all(|_| batch(true)));
        assert!((0..until_full).all(|_| !batch(true)), "it is tried again");
        assert!(batch(true));
        // The same records again: the log stays, and is emptied when it is long.
        assert!((0..without).all(|_| batch(false)));
        let of_entry = BATCH * (1 + 4 + 8 + 4 + 5);
        let until_long = BYTES_MAX / of_entry;
        for _ in 0..2 {
            assert!((0..until_long).all(|_| !batch(false)));
            assert!(batch(false));
        }
    }

    #[test]
    fn one_large_value_goes_past_the_log() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let disk = Disk::open(folder.path()).expect("an empty directory");
        let mut pending = Pending::default();
        pending.begin();
        pending.put(Map::Keys, &draft(b"before", b"1"));
        assert!(!write(&mut pending, &disk, 1, false));
        pending.begin();
        pending.put(Map::Keys, &draft(b"large", &vec![1; BYTES_MAX]));
        assert!(write(&mut pending, &disk, 2, false));
        assert_eq!(records(&disk.keys).len(), 2);
        assert_eq!(log_len(&disk), 0);
        assert!(pending.entry.capacity() <= BYTES_MAX / 8);
    }

    #[test]
    fn a_batch_that_is_written_again_is_not_taken_for_an_old_one() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let disk = Disk::open(folder.path()).expect("an empty directory");
        let mut pending = Pending::default();
        pending.begin();
        pending.put(Map::Keys, &draft(b"key", b"value"));
        assert!(!write(&mut pending, &disk, 1, false));
        // As if the engine had reported that this batch failed: it is opened again, and the batch repeated.
        let batch = Pending::read(&disk).expect("readable").settle(&disk, 1);
        batch.commit().expect("written");
        let mut pending = Pending::new(1);
        pending.begin();
        pending.put(Map::Keys, &draft(b"key", b"value"));
        assert!(write(&mut pending, &disk, 1, false));
        pending.begin();
        pending.put(Map::Keys, &draft(b"key", b"another"));
        assert!(!write(&mut pending, &disk, 2, false));
        let pending = Pending::read(&disk).expect("readable");
        assert_eq!(pending.logged, [2_u64.to_be_bytes()]);
    }

    #[test]
    fn a_damaged_record_is_told_or_read_without_a_panic() {
        let inputs = std::env::var("FERRITE_FUZZ_INPUTS").map_or(INPUTS, |text| {
            text.parse().expect("FERRITE_FUZZ_INPUTS is a number")
        });
        let mut pending = Pending::default();
        pending.begin();
        pending.put(Map::Keys, &draft(b"key", b"value"));
        pending.put(Map::Elements, &draft(b"element", b""));
        pending.remove(Map::Keys, &draft(b"gone", b""));
        pending.remove(Map::Elements, &draft(b"", b""));
        pending.write_entry();
        let entry = pending.entry.clone();
        assert_eq!(entry.len(), pending.entry_len());
        let mut whole = Pending::default();
        whole.replay(&entry).expect("readable");
        assert_eq!((whole.keys.len(), whole.elements.len()), (2, 2));

        let mut random = fastrand::Rng::with_seed(3);
        let (mut told, mut read) = (0, 0);
        for _ in 0..inputs {
            let mut damaged = entry.clone();
            for _ in 0..random.u32(1..3) {
                let at = random.usize(..damaged.len());
                match random.u8(..3) {
                    0 => damaged[at] = random.u8(..),
                    1 => damaged.truncate(at.max(1)),
                    _ => damaged.insert(at, random.u8(..)),
                }
            }
            match Pending::default().replay(&damaged) {
                Some(()) => read += 1,
                None => told += 1,
            }
        }
        assert!(told > inputs / 20 && read > inputs / 20, "{told} {read}");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let disk = Disk::open(folder.path()).expect("an empty directory");
        disk.log
            .insert(7_u64.to_be_bytes(), [9_u8])
            .expect("written");
        let error = Pending::read(&disk).expect_err("no such tag");
        assert_eq!(error.to_string(), "its log cannot be read at commit 7");
        let numbers = CommitNumbers {
            previous: Some(0),
            ..CommitNumbers::none_after(7)
        };
        let numbers = numbers.to_bytes();
        disk.meta.insert(COMMIT, numbers).expect("written");
        let error = Pending::read(&disk).expect_err("it is in the maps");
        assert_eq!(
            error.to_string(),
            "its log still has commit 7: a batch of its journal is missing"
        );
        disk.log.insert("name", []).expect("written");
        disk.log.remove(7_u64.to_be_bytes()).expect("written");
        let error = Pending::read(&disk).expect_err("no number");
        assert_eq!(
            error.to_string(),
            "a record of its log has no number of a commit"
        );
        drop(disk);
        let opened = crate::durable::open(crate::durable::DiskOptions::new(folder.path()));
        let error = opened.err().expect("damage");
        assert!(error.to_string().contains("a record of its log"), "{error}");
    }
}
