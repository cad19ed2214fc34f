//! Reading files with or without waiting for the disk.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::disk::files::platform;

/// Tells if a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum ReadMode {
    /// The read waits for the disk.
    Blocking,
    /// The read fails if the bytes are not in the page cache.
    NonBlocking,
}

impl ReadMode {
    /// Reads up to `buffer.len()` bytes at `offset`; returns 0 at the end of the file.
    pub(in crate::disk) fn read_at(
        self,
        file: &File,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        match self {
            Self::Blocking => file.read_at(buffer, offset),
            Self::NonBlocking => platform::read_cached_at(file, buffer, offset),
        }
    }

    /// Returns a reader from the start of a file.
    pub(in crate::disk) const fn reader(self, file: &File) -> Reader<'_> {
        Reader {
            file,
            offset: 0,
            mode: self,
        }
    }
}

/// Reads a file from its start.
pub(in crate::disk) struct Reader<'a> {
    file: &'a File,
    offset: u64,
    mode: ReadMode,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.mode.read_at(self.file, buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
