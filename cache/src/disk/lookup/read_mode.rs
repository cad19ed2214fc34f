//! Reading files, and how long that may take.

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::os::unix::fs::FileExt;

use rustix::io::{ReadWriteFlags, preadv2};

/// What a read may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum ReadMode {
    /// The disk.
    Blocking,
    /// Nothing: what the system does not hold in memory is an error.
    NonBlocking,
}

impl ReadMode {
    /// Reads what there is at `offset`, as far as `buffer` has room; 0 at the end of the file.
    pub(in crate::disk) fn read_at(
        self,
        file: &File,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        match self {
            Self::Blocking => file.read_at(buffer, offset),
            // File systems that cannot tell say that they do not support it.
            Self::NonBlocking => {
                let mut buffers = [IoSliceMut::new(buffer)];
                Ok(preadv2(file, &mut buffers, offset, ReadWriteFlags::NOWAIT)?)
            }
        }
    }

    /// The file from its first byte.
    pub(in crate::disk) const fn reader(self, file: &File) -> Reader<'_> {
        Reader {
            file,
            offset: 0,
            mode: self,
        }
    }
}

/// A file that is read from its first byte.
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
