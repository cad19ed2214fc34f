//! Facts of files and directories, as WASI tells them.

use rustix::fs::{FileType, Stat};

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Box<[u8]>,
    pub(crate) inode: u64,
    pub(crate) kind: u8,
}

/// A file's facts, as WASI tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStat {
    /// Type, as WASI numbers them.
    pub(crate) kind: u8,
    /// Bytes of the file. Of one on disk, when it was opened: what is added later is not read.
    pub(crate) len: u64,
    pub(super) inode: u64,
    pub(super) modified_nanos: u64,
}

impl FileStat {
    /// A directory.
    pub(crate) const DIRECTORY: u8 = 3;
    /// A regular file.
    pub(crate) const FILE: u8 = 4;

    pub(super) fn of(stat: &Stat) -> Self {
        let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
        Self {
            kind: kind(FileType::from_raw_mode(stat.st_mode)),
            len: u64::try_from(stat.st_size).unwrap_or_default(),
            inode: stat.st_ino,
            modified_nanos: seconds.saturating_mul(1_000_000_000),
        }
    }

    /// Returns the `filestat`: device at 0, inode at 8, type at 16, links at 24, size at 32, times of
    /// access, change of content and change of state at 40, 48 and 56. Device and owner are not told.
    pub(crate) fn filestat(self) -> [u8; 64] {
        let mut out = [0; 64];
        out[8..16].copy_from_slice(&self.inode.to_le_bytes());
        out[16] = self.kind;
        out[24] = 1;
        out[32..40].copy_from_slice(&self.len.to_le_bytes());
        for at in [40, 48, 56] {
            out[at..at + 8].copy_from_slice(&self.modified_nanos.to_le_bytes());
        }
        out
    }

    /// Returns the `fdstat`: type at 0, flags at 2, rights at 8, inherited rights at 16. A descriptor that
    /// writes has every right.
    pub(crate) fn fdstat(self, writes: bool, appends: bool) -> [u8; 24] {
        const READ: u64 = 1 << 1;
        const SEEK_AND_TELL: u64 = 1 << 2 | 1 << 5;
        const OPEN: u64 = 1 << 13;
        const READ_DIRECTORY: u64 = 1 << 14;
        const FILE_STAT: u64 = 1 << 18 | 1 << 21;
        const ALL: u64 = (1 << 28) - 1;
        let of_files = READ | SEEK_AND_TELL | FILE_STAT;
        let (rights, inherited) = match self.kind {
            _ if writes => (ALL, ALL),
            Self::DIRECTORY => {
                let rights = OPEN | READ_DIRECTORY | FILE_STAT;
                (rights, rights | of_files)
            }
            _ => (of_files, 0),
        };
        let mut out = [0; 24];
        out[0] = self.kind;
        out[2] = u8::from(appends);
        out[8..16].copy_from_slice(&rights.to_le_bytes());
        out[16..24].copy_from_slice(&inherited.to_le_bytes());
        out
    }
}

/// Returns WASI's number for a type of file.
pub(super) fn kind(kind: FileType) -> u8 {
    match kind {
        FileType::Directory => FileStat::DIRECTORY,
        FileType::RegularFile => FileStat::FILE,
        FileType::Symlink => 7,
        _ => 0,
    }
}
