//! Looks for commits that are missing in the engine's journals.
//!
//! The engine protects each batch by a checksum, and does not say whether all batches are there. Each batch
//! of commits has the number of its last commit and the number of the last one before it
//! ([`CommitNumbers`]), so a batch that is missing between two others shows. The heads of the batches are read
//! from the engine's files, version 3 of its journal: a batch is a start with the number of its items and a
//! sequence number, then the items, then an end with a checksum. What cannot be read ends a file here, as it
//! does for the engine, which has checked it before.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use fjall::AbstractTree as _;

use crate::durable::disk::Disk;
use crate::durable::record::{COMMIT, CommitNumbers};

/// Tags of the parts of a batch.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

/// Bytes of an end: a checksum and four bytes that are always the same.
const END_BYTES: u64 = 12;

/// Bytes of the number of a map.
const MAP_BYTES: u64 = 8;

/// Bytes of a journal that are read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// A batch of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// Offset of its start in its file.
    offset: u64,
    /// The engine's number of it.
    sequence: u64,
    numbers: CommitNumbers,
}

/// Commits that no batch has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::durable) struct Gap {
    /// The last commit before them, and the last of them.
    after: u64,
    last: u64,
    /// The file and the place of the batch behind them.
    file: String,
    offset: u64,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, last) = (self.after + 1, self.last);
        if first == last {
            write!(f, "commit {first} is missing")?;
        } else {
            write!(f, "commits {first} to {last} are missing")?;
        }
        write!(
            f,
            " in its journal {}, before byte {}",
            self.file, self.offset
        )
    }
}

/// Returns the first commits that are missing in the journals of an open store.
pub(in crate::durable) fn first_gap(disk: &Disk, folder: &Path) -> io::Result<Option<Gap>> {
    let mut chain = Chain::default();
    for journal in journals(folder)? {
        let mut batches = Batches::open(&journal)?;
        while let Some(head) = batches.next_commit()? {
            if chain.last.is_none() {
                chain.last = in_tables_before(disk, head.sequence);
            }
            chain.add(&journal, head);
        }
    }
    Ok(chain.gaps.into_iter().next())
}

/// The last commit that the engine's tables had when it gave a batch this number. `None` if they have a later
/// one: then a beginning of the journals may be gone that they have.
fn in_tables_before(disk: &Disk, sequence: u64) -> Option<u64> {
    let tree = &disk.meta.tree;
    match tree.get_highest_persisted_seqno() {
        None => Some(0),
        Some(persisted) if persisted >= sequence => None,
        Some(_) => match tree.get(COMMIT, sequence) {
            Ok(Some(bytes)) => CommitNumbers::parse(&bytes).map(|numbers| numbers.last),
            Ok(None) => Some(0),
            // Who needs the number otherwise tells the error.
            Err(_) => None,
        },
    }
}

/// The engine's journals, in the order in which they were written.
fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl")
            && let Some(number) = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok())
        {
            let number: u64 = number;
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The commits that batches have had so far.
#[derive(Default)]
struct Chain {
    last: Option<u64>,
    gaps: Vec<Gap>,
}

impl Chain {
    fn add(&mut self, journal: &Path, head: Head) {
        let CommitNumbers { previous, last, .. } = head.numbers;
        // Batches of earlier versions have no such number, and are taken for whole.
        let (Some(previous), Some(before)) = (previous, self.last) else {
            self.last = self.last.max(Some(last));
            return;
        };
        if last <= before {
            // The engine sorts batches itself: one may stand behind those that follow it.
            self.fill(previous, last);
            return;
        }
        if previous > before {
            let file = journal.file_name().unwrap_or_default();
            self.gaps.push(Gap {
                after: before,
                last: previous,
                file: file.to_string_lossy().into_owned(),
                offset: head.offset,
            });
        }
        self.last = Some(last);
    }

    /// Takes the commits after one and up to another out of what is missing.
    fn fill(&mut self, after: u64, last: u64) {
        let gaps = std::mem::take(&mut self.gaps);
        for gap in gaps {
            let (below, above) = (last.min(gap.last), after.max(gap.after));
            if above >= below {
                self.gaps.push(gap);
                continue;
            }
            for (start, end) in [(gap.after, above), (below, gap.last)] {
                if start < end {
                    self.gaps.push(Gap {
                        after: start,
                        last: end,
                        ..gap.clone()
                    });
                }
            }
        }
    }
}

/// The batches of a journal.
struct Batches {
    file: BufReader<File>,
    offset: u64,
}

impl Batches {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufReader::with_capacity(BUFFER_BYTES, File::open(path)?),
            offset: 0,
        })
    }

    /// Returns the next batch that has a number of a commit; `None` at the end.
    fn next_commit(&mut self) -> io::Result<Option<Head>> {
        loop {
            match self.batch() {
                Ok(Some(Some(head))) => return Ok(Some(head)),
                Ok(Some(None)) => {}
                Ok(None) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a batch. Returns `None` at what is no batch, and nothing inside if it has no number of a commit.
    fn batch(&mut self) -> io::Result<Option<Option<Head>>> {
        let offset = self.offset;
        if self.byte()? != START {
            return Ok(None);
        }
        let items = u32::from_le_bytes(self.bytes()?);
        let sequence = u64::from_le_bytes(self.bytes()?);
        let mut found = None;
        for _ in 0..items {
            match self.byte()? {
                ITEM => {
                    if let Some(numbers) = self.item()? {
                        found = Some(Head {
                            offset,
                            sequence,
                            numbers,
                        });
                    }
                }
                CLEAR => self.skip(MAP_BYTES)?,
                _ => return Ok(None),
            }
        }
        if self.byte()? != END {
            return Ok(None);
        }
        self.skip(END_BYTES)?;
        Ok(Some(found))
    }

    /// Reads an item after its tag; returns the numbers if it has those of a commit. No key of another map is
    /// as short.
    fn item(&mut self) -> io::Result<Option<CommitNumbers>> {
        let [_kind, _compression] = self.bytes()?;
        self.skip(MAP_BYTES)?;
        let key_len = u16::from_le_bytes(self.bytes()?);
        let _len = u32::from_le_bytes(self.bytes()?);
        let stored_len = u32::from_le_bytes(self.bytes()?);
        if usize::from(key_len) != COMMIT.len() {
            self.skip(u64::from(key_len) + u64::from(stored_len))?;
            return Ok(None);
        }
        let key: [u8; COMMIT.len()] = self.bytes()?;
        if key != *COMMIT.as_bytes() || stored_len as usize > CommitNumbers::LEN {
            self.skip(u64::from(stored_len))?;
            return Ok(None);
        }
        let mut value = [0; CommitNumbers::LEN];
        let value = &mut value[..stored_len as usize];
        self.file.read_exact(value)?;
        self.offset += u64::from(stored_len);
        Ok(CommitNumbers::parse(value))
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.bytes().map(|[byte]| byte)
    }

    fn bytes<const LEN: usize>(&mut self) -> io::Result<[u8; LEN]> {
        let mut bytes = [0; LEN];
        self.file.read_exact(&mut bytes)?;
        self.offset += LEN as u64;
        Ok(bytes)
    }

    fn skip(&mut self, len: u64) -> io::Result<()> {
        let mut left = len;
        while left > 0 {
            let there = self.file.fill_buf()?.len();
            if there == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // A buffer's length fits into 64 bits.
            let step = left.min(there as u64);
            self.file.consume(step as usize);
            left -= step;
        }
        self.offset += len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Batches, Chain, CommitNumbers, Disk, Head, first_gap, journals};
    use crate::durable::disk::versioned;

    /// The gap after batches with these numbers of the commit before and of the last.
    fn missing(from: Option<u64>, batches: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut chain = Chain {
            last: from,
            ..Chain::default()
        };
        for &(previous, last) in batches {
            let numbers = CommitNumbers {
                previous: Some(previous),
                last,
                settled: Some(last),
            };
            let head = Head {
                offset: 0,
                sequence: 0,
                numbers,
            };
            chain.add(Path::new("0.jnl"), head);
        }
        chain.gaps.iter().map(|gap| (gap.after, gap.last)).collect()
    }

    #[test]
    fn what_no_batch_has_is_missing_in_whatever_order_they_stand() {
        assert_eq!(missing(None, &[(7, 9), (9, 10)]), []);
        assert_eq!(missing(Some(0), &[(0, 2), (2, 2), (2, 5)]), []);
        assert_eq!(missing(Some(0), &[(1, 2), (2, 3)]), [(0, 1)]);
        assert_eq!(
            missing(Some(0), &[(0, 2), (4, 5), (9, 10)]),
            [(2, 4), (5, 9)]
        );
        // Twice, swapped, and a part of what is missing behind it.
        assert_eq!(missing(Some(0), &[(0, 2), (0, 2), (2, 3), (0, 2)]), []);
        assert_eq!(missing(Some(0), &[(2, 3), (0, 2), (3, 4)]), []);
        assert_eq!(missing(Some(0), &[(9, 10), (2, 4)]), [(0, 2), (4, 9)]);
        assert_eq!(missing(Some(0), &[(9, 10), (0, 4), (3, 9)]), []);
    }

    /// Writes batches with these numbers and some records beside.
    fn write(disk: &Disk, batches: &[(u64, u64)]) {
        for &(previous, last) in batches {
            let mut batch = disk.database.batch();
            batch.insert(&disk.keys, last.to_be_bytes(), vec![1; 70_000]);
            batch.remove(&disk.elements, "commit of no map");
            let numbers = CommitNumbers {
                previous: Some(previous),
                last,
                settled: Some(last),
            };
            batch.insert(&disk.meta, super::COMMIT, numbers.to_bytes());
            batch.insert(&disk.meta, "spaces", "a value");
            batch.commit().expect("written");
        }
        let persist = disk.database.persist(fjall::PersistMode::SyncAll);
        persist.expect("persisted");
    }

    fn gap(disk: &Disk, folder: &Path) -> Option<String> {
        let gap = first_gap(disk, &versioned(folder)).expect("readable");
        gap.map(|gap| gap.to_string())
    }

    #[test]
    fn every_batch_of_the_engine_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::open(folder.path()).expect("an empty folder");
        let numbers: Vec<(u64, u64)> = (0..100).map(|at| (at, at + 1)).collect();
        write(&disk, &numbers);
        let journals = journals(&versioned(folder.path())).expect("readable");
        let mut batches = Batches::open(&journals[0]).expect("readable");
        let mut found = Vec::new();
        while let Some(head) = batches.next_commit().expect("readable") {
            let CommitNumbers { previous, last, .. } = head.numbers;
            found.push((previous.expect("it is there"), last));
        }
        assert_eq!(found, numbers);
        assert_eq!(gap(&disk, folder.path()), None);
    }

    #[test]
    fn the_beginning_of_a_journal_is_compared_with_the_tables() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path();
        let disk = Disk::open(folder).expect("an empty folder");
        write(&disk, &[(0, 1), (1, 5)]);
        disk.store_anew().expect("stored");
        drop(disk);
        let journal = versioned(folder).join("0.jnl");
        let file = std::fs::File::options().write(true).open(journal);
        file.and_then(|file| file.set_len(0)).expect("emptied");

        let disk = Disk::open(folder).expect("closed");
        write(&disk, &[(5, 6)]);
        assert_eq!(gap(&disk, folder), None);
        drop(disk);
        let journal = versioned(folder).join("0.jnl");
        let file = std::fs::File::options().write(true).open(journal);
        file.and_then(|file| file.set_len(0)).expect("emptied");
        let disk = Disk::open(folder).expect("closed");
        write(&disk, &[(6, 8)]);
        let told = "commit 6 is missing in its journal 0.jnl, before byte 0";
        assert_eq!(gap(&disk, folder).as_deref(), Some(told));
    }
}
