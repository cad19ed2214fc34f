//! The files that a call has open.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, fstat, open};
use rustix::io::{Errno, pread};

use super::directory::{Directory, DirectorySource};
use super::errno;
use super::kept::{ChangedFiles, KeptFiles, WorkingCopy};
use super::scratch::{Opening, Scratch};
use super::stat::{Entry, FileStat, kind};
use crate::platform::{PATH_ONLY, open_beneath};

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
    /// The directories that stay, if there are such.
    kept: Option<Arc<KeptFiles>>,
    /// True if the call may change them.
    changes_kept: bool,
    /// Each directory, once it is used.
    opened: Vec<Option<OpenDirectory>>,
    files: Vec<Option<OpenFile>>,
}

/// A directory that the call begins with.
#[derive(Debug)]
enum OpenDirectory {
    Disk(Arc<OwnedFd>),
    Scratch(Box<Scratch>),
    Kept(Box<WorkingCopy>),
}

/// An open file or directory below one of the directories.
#[derive(Debug)]
struct OpenFile {
    place: Place,
    /// Type, size and time of a file on disk when it was opened.
    stat: FileStat,
    /// Offset of the next read or write.
    position: u64,
    writes: bool,
    /// True if each write goes to the end.
    appends: bool,
    /// The names in a directory, once they are read, in order.
    entries: Option<Vec<Entry>>,
}

/// The place of an open file or directory.
#[derive(Clone, Debug)]
enum Place {
    Disk(Arc<OwnedFd>),
    /// In the scratch directory at this index.
    Scratch {
        directory: usize,
        node: usize,
    },
}

impl FileTable {
    /// Begins a try of a call whose function may use these directories. Those of them that stay are in
    /// `kept`, and cannot be changed until that is allowed.
    pub(crate) fn begin(&mut self, directories: &Arc<[Directory]>, kept: Option<&Arc<KeptFiles>>) {
        if directories.is_empty() && self.directories.is_empty() {
            return;
        }
        self.directories = Arc::clone(directories);
        self.kept = kept.cloned();
        self.changes_kept = false;
        self.opened.clear();
        self.files.clear();
    }

    /// Lets the try change the directories that stay, if it may.
    pub(crate) fn allow_changes(&mut self, may_change: bool) {
        self.changes_kept = may_change;
    }

    /// Closes all files. Returns what the try has changed in directories that stay.
    pub(crate) fn take_changed(&mut self) -> Option<ChangedFiles> {
        let kept = Arc::clone(self.kept.as_ref()?);
        for file in std::mem::take(&mut self.files).into_iter().flatten() {
            if let Place::Scratch { directory, node } = file.place
                && let Ok(scratch) = self.scratch(directory)
            {
                scratch.close(node);
            }
        }
        let opened = self.opened.drain(..).zip(self.directories.iter());
        let changed = opened.filter_map(|(opened, directory)| match opened {
            Some(OpenDirectory::Kept(copy)) if copy.files.has_changed() => {
                Some((directory.name().into(), *copy))
            }
            _ => None,
        });
        let copies: Vec<_> = changed.collect();
        (!copies.is_empty()).then_some(ChangedFiles { kept, copies })
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
        match self.place(fd)? {
            Place::Scratch { directory, node } => Ok(self.scratch(directory)?.stat(node)),
            Place::Disk(base) if self.directory(fd).is_some() => stat_of(&base),
            Place::Disk(_) => self.file(fd).map(|file| file.stat),
        }
    }

    /// Returns the `fdstat` of a descriptor.
    pub(crate) fn fdstat(&mut self, fd: i32) -> Result<[u8; 24], i32> {
        let stat = self.stat(fd)?;
        let (writes, appends) = match self.file(fd) {
            Ok(file) => (file.writes, file.appends),
            Err(_) => {
                let directory = self.directory(fd).map(Directory::source);
                let writes = matches!(directory, Some(DirectorySource::Scratch { .. }));
                (writes, false)
            }
        };
        Ok(stat.fdstat(writes, appends))
    }

    fn file(&mut self, fd: i32) -> Result<&mut OpenFile, i32> {
        let index = index(fd).and_then(|index| index.checked_sub(self.directories.len()));
        let file = index.and_then(|index| self.files.get_mut(index)?.as_mut());
        file.ok_or(errno::BADF)
    }

    /// Opens a file or directory beneath another one. Returns its descriptor.
    pub(crate) fn open(&mut self, fd: i32, path: &[u8], how: Opening) -> Result<i32, i32> {
        let base = self.place(fd)?;
        let slot = match self.files.iter().position(Option::is_none) {
            Some(slot) => slot,
            None if self.files.len() < OPEN_MAX => self.files.len(),
            None => return Err(errno::MFILE),
        };
        let (place, stat, writes) = match base {
            Place::Disk(_) if how.changes() => return Err(errno::ROFS),
            Place::Disk(base) => {
                let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                flags.set(OFlags::DIRECTORY, how.directory);
                let fd = Arc::new(beneath(&base, path, flags)?);
                let stat = stat_of(&fd)?;
                // A device, a pipe or a socket is no file.
                if !matches!(stat.kind, FileStat::FILE | FileStat::DIRECTORY) {
                    return Err(errno::NOTSUP);
                }
                (Place::Disk(fd), stat, false)
            }
            Place::Scratch { directory, node } => {
                let scratch = self.scratch(directory)?;
                let node = scratch.open(node, path, how)?;
                let stat = scratch.stat(node);
                let writes = how.write || stat.kind == FileStat::DIRECTORY;
                (Place::Scratch { directory, node }, stat, writes)
            }
        };
        let file = Some(OpenFile {
            place,
            stat,
            position: 0,
            writes,
            appends: how.append,
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
        match self.place(fd)? {
            Place::Disk(base) => {
                let mut flags = PATH_ONLY;
                flags.set(OFlags::NOFOLLOW, !follow);
                stat_of(&beneath(&base, path, flags)?)
            }
            Place::Scratch { directory, node } => self.scratch(directory)?.stat_beneath(node, path),
        }
    }

    /// Closes a file. The directories that the call begins with stay.
    pub(crate) fn close(&mut self, fd: i32) -> Result<(), i32> {
        if self.directory(fd).is_some() {
            return Ok(());
        }
        let place = self.file(fd)?.place.clone();
        let index = index(fd).and_then(|index| index.checked_sub(self.directories.len()));
        if let Some(slot) = index.and_then(|index| self.files.get_mut(index)) {
            *slot = None;
        }
        if let Place::Scratch { directory, node } = place {
            self.scratch(directory)?.close(node);
        }
        Ok(())
    }

    /// Returns the place that a descriptor stands for.
    fn place(&mut self, fd: i32) -> Result<Place, i32> {
        let Some(at) = index(fd).filter(|&at| at < self.directories.len()) else {
            return self.file(fd).map(|file| file.place.clone());
        };
        if self.opened.is_empty() {
            self.opened.resize_with(self.directories.len(), || None);
        }
        let scratch = Place::Scratch {
            directory: at,
            node: Scratch::ROOT,
        };
        match &self.opened[at] {
            Some(OpenDirectory::Disk(opened)) => return Ok(Place::Disk(Arc::clone(opened))),
            Some(OpenDirectory::Scratch(_) | OpenDirectory::Kept(_)) => return Ok(scratch),
            None => {}
        }
        let directory = &self.directories[at];
        let path = match directory.source() {
            DirectorySource::Path(path) => path,
            &DirectorySource::Scratch { bytes_max, kept } => {
                self.opened[at] = Some(match &self.kept {
                    Some(files) if kept => {
                        let copy = files.copy(directory.name(), bytes_max, !self.changes_kept);
                        OpenDirectory::Kept(Box::new(copy))
                    }
                    _ => OpenDirectory::Scratch(Box::new(Scratch::new(bytes_max))),
                });
                return Ok(scratch);
            }
        };
        // The operator's own path, which may lead anywhere.
        let flags = PATH_ONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(path, flags, Mode::empty()).map_err(|error| {
            let name = directory.name();
            tracing::warn!(name, path = %path.display(), %error, "a directory of functions cannot be opened");
            errno::of(error)
        })?;
        let opened = Arc::new(opened);
        self.opened[at] = Some(OpenDirectory::Disk(Arc::clone(&opened)));
        Ok(Place::Disk(opened))
    }

    /// Returns the scratch directory at an index; only a place of one names it.
    fn scratch(&mut self, directory: usize) -> Result<&mut Scratch, i32> {
        match self.opened.get_mut(directory) {
            Some(Some(OpenDirectory::Scratch(scratch))) => Ok(scratch),
            Some(Some(OpenDirectory::Kept(copy))) => Ok(&mut copy.files),
            _ => Err(errno::BADF),
        }
    }

    /// Returns the offset of the next read or write of an open file.
    pub(crate) fn position(&mut self, fd: i32) -> Result<u64, i32> {
        self.file(fd).map(|file| file.position)
    }

    /// Moves the position of the next read or write.
    pub(crate) fn seek(&mut self, fd: i32, offset: i64, whence: i32) -> Result<u64, i32> {
        let stat = self.stat(fd)?;
        let file = self.file(fd)?;
        if stat.kind == FileStat::DIRECTORY {
            return Err(errno::ISDIR);
        }
        let from = match whence {
            0 => 0,
            1 => file.position,
            2 => stat.len,
            _ => return Err(errno::INVAL),
        };
        let position = from
            .checked_add_signed(offset)
            .filter(|&to| to <= i64::MAX as u64);
        file.position = position.ok_or(errno::INVAL)?;
        Ok(file.position)
    }

    /// Marks `bytes` as read or written.
    pub(crate) fn advance(&mut self, fd: i32, bytes: u64) {
        if let Ok(file) = self.file(fd) {
            file.position = file.position.saturating_add(bytes);
        }
    }

    pub(crate) fn set_position(&mut self, fd: i32, position: u64) {
        if let Ok(file) = self.file(fd) {
            file.position = position;
        }
    }

    /// Returns how many of `wanted` bytes there are from `offset` on.
    pub(crate) fn available(&mut self, fd: i32, offset: u64, wanted: u64) -> Result<u64, i32> {
        self.file(fd)?;
        let len = self.stat(fd)?.len;
        Ok(wanted.min(len.saturating_sub(offset)))
    }

    /// Reads at `offset`; 0 bytes at the end.
    pub(crate) fn read(&mut self, fd: i32, buffer: &mut [u8], offset: u64) -> Result<usize, i32> {
        let file = self.file(fd)?;
        if file.stat.kind == FileStat::DIRECTORY {
            return Err(errno::ISDIR);
        }
        match file.place.clone() {
            Place::Scratch { directory, node } => {
                self.scratch(directory)?.read(node, buffer, offset)
            }
            Place::Disk(fd) => loop {
                match pread(&*fd, &mut *buffer, offset) {
                    Err(Errno::INTR) => {}
                    read => return read.map_err(errno::of),
                }
            },
        }
    }

    /// Returns the offset at which a write without one goes.
    pub(crate) fn write_position(&mut self, fd: i32) -> Result<u64, i32> {
        let file = self.file(fd)?;
        if file.stat.kind == FileStat::DIRECTORY {
            return Err(errno::ISDIR);
        }
        if !file.writes {
            return Err(errno::BADF);
        }
        if !file.appends {
            return Ok(file.position);
        }
        Ok(self.stat(fd)?.len)
    }

    /// Returns how many bytes longer a file becomes by a write, if there is room for them, and those that
    /// are copied for it.
    pub(crate) fn growth(&mut self, fd: i32, offset: u64, len: u64) -> Result<u64, i32> {
        let old = self.stat(fd)?.len;
        let growth = offset.saturating_add(len).saturating_sub(old);
        let (room, copied) = match self.place(fd)? {
            Place::Scratch { directory, node } => {
                let scratch = self.scratch(directory)?;
                (scratch.room(), scratch.shared_len(node))
            }
            Place::Disk(_) => return Err(errno::ROFS),
        };
        if growth > room {
            return Err(errno::NOSPC);
        }
        Ok(growth + copied)
    }

    /// Writes all bytes at `offset`, or none. What is between the end and there becomes zeros.
    pub(crate) fn write(&mut self, fd: i32, bytes: &[u8], offset: u64) -> Result<(), i32> {
        let file = self.file(fd)?;
        if !file.writes {
            return Err(errno::BADF);
        }
        match file.place {
            Place::Scratch { directory, node } => {
                self.scratch(directory)?.write(node, bytes, offset)
            }
            Place::Disk(_) => Err(errno::ROFS),
        }
    }

    /// Lets a write go to the end of a file, or to its position.
    pub(crate) fn set_appends(&mut self, fd: i32, appends: bool) -> Result<(), i32> {
        self.file(fd)?.appends = appends;
        Ok(())
    }

    /// Makes a file shorter, or longer by zeros.
    pub(crate) fn set_len(&mut self, fd: i32, len: u64) -> Result<(), i32> {
        self.write_position(fd)?;
        match self.place(fd)? {
            Place::Scratch { directory, node } => self.scratch(directory)?.set_len(node, len),
            Place::Disk(_) => Err(errno::ROFS),
        }
    }

    /// Makes a directory.
    pub(crate) fn create_directory(&mut self, fd: i32, path: &[u8]) -> Result<(), i32> {
        let (directory, node) = self.scratch_place(fd)?;
        self.scratch(directory)?.create_directory(node, path)
    }

    /// Removes a file, or an empty directory.
    pub(crate) fn remove(&mut self, fd: i32, path: &[u8], directory: bool) -> Result<(), i32> {
        let (scratch, node) = self.scratch_place(fd)?;
        self.scratch(scratch)?.remove(node, path, directory)
    }

    /// Moves a file or directory to another name.
    pub(crate) fn rename(
        &mut self,
        (fd, path): (i32, &[u8]),
        (new_fd, new_path): (i32, &[u8]),
    ) -> Result<(), i32> {
        let (from, base) = self.scratch_place(fd)?;
        let (to, new_base) = self.scratch_place(new_fd)?;
        if from != to {
            return Err(errno::XDEV);
        }
        self.scratch(from)?
            .rename((base, path), (new_base, new_path))
    }

    /// Returns the place of a descriptor that can be changed.
    fn scratch_place(&mut self, fd: i32) -> Result<(usize, usize), i32> {
        match self.place(fd)? {
            Place::Scratch { directory, node } => Ok((directory, node)),
            Place::Disk(_) => Err(errno::ROFS),
        }
    }

    /// Returns the names in a directory, in the order of their bytes. They are read once.
    pub(crate) fn entries(&mut self, fd: i32) -> Result<&[Entry], i32> {
        let file = self.file(fd)?;
        if file.stat.kind != FileStat::DIRECTORY {
            return Err(errno::NOTDIR);
        }
        if file.entries.is_none() {
            let entries = match file.place.clone() {
                Place::Disk(fd) => list(&fd)?,
                Place::Scratch { directory, node } => self.scratch(directory)?.entries(node)?,
            };
            self.file(fd)?.entries = Some(entries);
        }
        Ok(self.file(fd)?.entries.as_deref().unwrap_or_default())
    }

    /// Returns true if the names in a directory were read and are kept.
    pub(crate) fn is_listed(&mut self, fd: i32) -> bool {
        self.file(fd).is_ok_and(|file| file.entries.is_some())
    }

    /// Lets the names in a directory be read again, as a program that begins anew expects.
    pub(crate) fn rewind_entries(&mut self, fd: i32) {
        if let Ok(file) = self.file(fd) {
            file.entries = None;
        }
    }
}

/// Returns the names in a directory on disk, in the order of their bytes.
fn list(fd: &OwnedFd) -> Result<Vec<Entry>, i32> {
    let mut entries = Vec::new();
    let listing = rustix::fs::Dir::read_from(fd).map_err(errno::of)?;
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
    Ok(entries)
}

/// Opens a path that the kernel resolves beneath `base`: it fails if a part of the path, or a link on
/// its way, leads out, also if something is renamed meanwhile.
fn beneath(base: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, i32> {
    if path.contains(&0) {
        return Err(errno::INVAL);
    }
    for _ in 0..8 {
        match open_beneath(base, path, flags | OFlags::CLOEXEC) {
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
    let flags = PATH_ONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open_beneath(CWD, b".", flags).map(drop)
}
