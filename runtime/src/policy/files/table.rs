//! The files that a call has open.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2};
use rustix::io::{Errno, pread};

use super::directory::Directory;
use super::errno;

/// Number of the first descriptor that is no standard stream.
const FIRST: u32 = 3;

/// Most files and directories that a call has open, besides those that it begins with.
const OPEN_MAX: usize = 64;

/// Most entries of a directory that is listed.
const ENTRIES_MAX: usize = 65_536;

/// Longest path, in bytes.
pub(crate) const PATH_BYTES_MAX: u32 = 4096;

/// The files that a call has open. Each try begins with the directories alone.
#[derive(Debug, Default)]
pub(crate) struct FileTable {
    directories: Arc<[Directory]>,
    /// Each directory, once it is used.
    opened: Vec<Option<Arc<OwnedFd>>>,
    files: Vec<Option<OpenFile>>,
}

/// An open file or directory below one of the directories.
#[derive(Debug)]
pub(crate) struct OpenFile {
    fd: Arc<OwnedFd>,
    stat: FileStat,
    /// Offset of the next read.
    position: u64,
    /// The names in a directory, once they are read, in order.
    entries: Option<Vec<Entry>>,
}

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
    /// Bytes of the file when it was opened. What is added later is not read.
    pub(crate) len: u64,
    inode: u64,
    modified_nanos: u64,
}

impl FileStat {
    /// A directory.
    pub(crate) const DIRECTORY: u8 = 3;
    /// A regular file.
    pub(crate) const FILE: u8 = 4;

    fn of(stat: &Stat) -> Self {
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

    /// Returns the `fdstat`: type at 0, flags at 2, rights at 8, inherited rights at 16.
    pub(crate) fn fdstat(self) -> [u8; 24] {
        const READ: u64 = 1 << 1;
        const SEEK_AND_TELL: u64 = 1 << 2 | 1 << 5;
        const OPEN: u64 = 1 << 13;
        const READ_DIRECTORY: u64 = 1 << 14;
        const FILE_STAT: u64 = 1 << 18 | 1 << 21;
        let of_files = READ | SEEK_AND_TELL | FILE_STAT;
        let (rights, inherited) = match self.kind {
            Self::DIRECTORY => {
                let rights = OPEN | READ_DIRECTORY | FILE_STAT;
                (rights, rights | of_files)
            }
            _ => (of_files, 0),
        };
        let mut out = [0; 24];
        out[0] = self.kind;
        out[8..16].copy_from_slice(&rights.to_le_bytes());
        out[16..24].copy_from_slice(&inherited.to_le_bytes());
        out
    }
}

impl FileTable {
    /// Begins a try of a call whose function may read these directories.
    pub(crate) fn begin(&mut self, directories: &Arc<[Directory]>) {
        if directories.is_empty() && self.directories.is_empty() {
            return;
        }
        self.directories = Arc::clone(directories);
        self.opened.clear();
        self.files.clear();
    }

    /// Returns true if the call has no files at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    /// Returns the name of a directory that the call begins with.
    pub(crate) fn directory(&self, fd: i32) -> Option<&Directory> {
        self.directories.get(index(fd)?)
    }

    /// Returns what is known of an open file, or of a directory that the call begins with.
    pub(crate) fn stat(&mut self, fd: i32) -> Result<FileStat, i32> {
        if self.directory(fd).is_some() {
            let base = self.base(fd)?;
            return stat_of(&base);
        }
        self.file(fd).map(|file| file.stat)
    }

    /// Returns an open file.
    pub(crate) fn file(&mut self, fd: i32) -> Result<&mut OpenFile, i32> {
        let index = index(fd).and_then(|index| index.checked_sub(self.directories.len()));
        let file = index.and_then(|index| self.files.get_mut(index)?.as_mut());
        file.ok_or(errno::BADF)
    }

    /// Opens a file or directory beneath another one. Returns its descriptor.
    pub(crate) fn open(&mut self, fd: i32, path: &[u8], directory: bool) -> Result<i32, i32> {
        let base = self.base(fd)?;
        let slot = match self.files.iter().position(Option::is_none) {
            Some(slot) => slot,
            None if self.files.len() < OPEN_MAX => self.files.len(),
            None => return Err(errno::MFILE),
        };
        let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags.set(OFlags::DIRECTORY, directory);
        let fd = Arc::new(beneath(&base, path, flags)?);
        let stat = stat_of(&fd)?;
        // A device, a pipe or a socket is no file.
        if !matches!(stat.kind, FileStat::FILE | FileStat::DIRECTORY) {
            return Err(errno::NOTSUP);
        }
        let file = Some(OpenFile {
            fd,
            stat,
            position: 0,
            entries: None,
        });
        if slot == self.files.len() {
            self.files.push(file);
        } else {
            self.files[slot] = file;
        }
        // At most 32 directories and 64 files.
        Ok((FIRST as usize + self.directories.len() + slot) as i32)
    }

    /// Returns what is known of a file beneath a directory. Links at its end are followed if `follow`.
    pub(crate) fn stat_beneath(
        &mut self,
        fd: i32,
        path: &[u8],
        follow: bool,
    ) -> Result<FileStat, i32> {
        let base = self.base(fd)?;
        let mut flags = OFlags::PATH;
        flags.set(OFlags::NOFOLLOW, !follow);
        stat_of(&beneath(&base, path, flags)?)
    }

    /// Closes a file. The directories that the call begins with stay.
    pub(crate) fn close(&mut self, fd: i32) -> Result<(), i32> {
        if self.directory(fd).is_some() {
            return Ok(());
        }
        self.file(fd)?;
        let index = index(fd).and_then(|index| index.checked_sub(self.directories.len()));
        if let Some(slot) = index.and_then(|index| self.files.get_mut(index)) {
            *slot = None;
        }
        Ok(())
    }

    /// Returns the directory that a descriptor stands for, to open files beneath it.
    fn base(&mut self, fd: i32) -> Result<Arc<OwnedFd>, i32> {
        let Some(at) = index(fd).filter(|&at| at < self.directories.len()) else {
            return self.file(fd).map(|file| Arc::clone(&file.fd));
        };
        if self.opened.is_empty() {
            self.opened.resize(self.directories.len(), None);
        }
        if let Some(opened) = &self.opened[at] {
            return Ok(Arc::clone(opened));
        }
        // The operator's own path, which may lead anywhere.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = &self.directories[at];
        let opened = open(directory.path(), flags, Mode::empty()).map_err(|error| {
            let (name, path) = (directory.name(), directory.path());
            tracing::warn!(name, path = %path.display(), %error, "a directory of functions cannot be opened");
            errno::of(error)
        })?;
        let opened = Arc::new(opened);
        self.opened[at] = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

impl OpenFile {
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Moves the position of the next read.
    pub(crate) fn seek(&mut self, offset: i64, whence: i32) -> Result<u64, i32> {
        if self.stat.kind == FileStat::DIRECTORY {
            return Err(errno::ISDIR);
        }
        let from = match whence {
            0 => 0,
            1 => self.position,
            2 => self.stat.len,
            _ => return Err(errno::INVAL),
        };
        let position = from
            .checked_add_signed(offset)
            .filter(|&to| to <= i64::MAX as u64);
        self.position = position.ok_or(errno::INVAL)?;
        Ok(self.position)
    }

    /// Marks `bytes` as read.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.position = self.position.saturating_add(bytes);
    }

    /// Returns how many of `wanted` bytes there are from `offset` on.
    pub(crate) fn available(&self, offset: u64, wanted: u64) -> u64 {
        wanted.min(self.stat.len.saturating_sub(offset))
    }

    /// Reads at `offset`; 0 bytes at the end.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, i32> {
        if self.stat.kind == FileStat::DIRECTORY {
            return Err(errno::ISDIR);
        }
        loop {
            match pread(&*self.fd, &mut *buffer, offset) {
                Err(Errno::INTR) => {}
                read => return read.map_err(errno::of),
            }
        }
    }

    /// Returns the names in a directory, in the order of their bytes. They are read once.
    pub(crate) fn entries(&mut self) -> Result<&[Entry], i32> {
        if self.stat.kind != FileStat::DIRECTORY {
            return Err(errno::NOTDIR);
        }
        if self.entries.is_none() {
            let mut entries = Vec::new();
            let listing = rustix::fs::Dir::read_from(&*self.fd).map_err(errno::of)?;
            for entry in listing {
                let entry = entry.map_err(errno::of)?;
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                if entries.len() == ENTRIES_MAX {
                    return Err(errno::OVERFLOW);
                }
                entries.push(Entry {
                    name: name.into(),
                    inode: entry.ino(),
                    kind: kind(entry.file_type()),
                });
            }
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            self.entries = Some(entries);
        }
        Ok(self.entries.as_deref().unwrap_or_default())
    }
}

/// Opens a path that the kernel resolves beneath `base`: it fails if a part of the path, or a link on
/// its way, leads out, also if something is renamed meanwhile.
fn beneath(base: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, i32> {
    if path.contains(&0) {
        return Err(errno::INVAL);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..8 {
        match openat2(base, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Something was renamed while the kernel looked.
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened.map_err(errno::of),
        }
    }
    Err(errno::IO)
}

fn stat_of(fd: &OwnedFd) -> Result<FileStat, i32> {
    fstat(fd).map(|stat| FileStat::of(&stat)).map_err(errno::of)
}

/// Returns WASI's number for a type of file.
fn kind(kind: FileType) -> u8 {
    match kind {
        FileType::Directory => FileStat::DIRECTORY,
        FileType::RegularFile => FileStat::FILE,
        FileType::Symlink => 7,
        _ => 0,
    }
}

fn index(fd: i32) -> Option<usize> {
    let number = u32::try_from(fd).ok()?.checked_sub(FIRST)?;
    Some(number as usize)
}

/// Tells if this kernel resolves paths beneath a directory (Linux 5.6 or later).
///
/// # Errors
///
/// The kernel does not, or something keeps this process from asking it.
pub(crate) fn check_kernel() -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, ".", flags, Mode::empty(), ResolveFlags::BENEATH).map(drop)
}
