//! The anonymous file that holds the pristine contents of all memories.
//!
//! One file for all of them: a server with thousands of functions would otherwise use up its file
//! descriptors.

use std::fs::File;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::ftruncate;

use super::HOST_PAGE;
use crate::platform;

/// The process's file, made at its first use.
static PRISTINE: Mutex<Option<Pristine>> = Mutex::new(None);

/// Makes the file, while there are descriptors: a later lack of them then stops no function.
pub(super) fn prepare() -> io::Result<()> {
    PristineRange::take(0).map(drop)
}

struct Pristine {
    file: Arc<File>,
    /// End of the last range. Ranges are not used again: their pages are given back, and an offset
    /// has 63 bits, enough for two thousand million memories of 4 GiB.
    end_bytes: u64,
}

/// A range of the file that belongs to one memory. Its pages are given back when it is dropped.
#[derive(Debug)]
pub(super) struct PristineRange {
    file: Arc<File>,
    offset_bytes: u64,
    len_bytes: u64,
}

impl PristineRange {
    /// Takes a new range of zeros.
    ///
    /// # Errors
    ///
    /// If there is no memory for it, or no descriptor for the file.
    pub(super) fn take(len: usize) -> io::Result<Self> {
        let len_bytes = len.next_multiple_of(HOST_PAGE) as u64;
        let mut pristine = PRISTINE.lock();
        let pristine = match &mut *pristine {
            Some(pristine) => pristine,
            none => none.insert(Pristine {
                file: Arc::new(platform::memory_file("ferrite-pristine")?),
                end_bytes: 0,
            }),
        };
        let offset_bytes = pristine.end_bytes;
        let end_bytes = offset_bytes
            .checked_add(len_bytes)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        ftruncate(&*pristine.file, end_bytes)?;
        pristine.end_bytes = end_bytes;
        Ok(Self {
            file: Arc::clone(&pristine.file),
            offset_bytes,
            len_bytes,
        })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Offset of the range in the file, in bytes; a multiple of the page size.
    pub(super) fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }
}

impl Drop for PristineRange {
    fn drop(&mut self) {
        if self.len_bytes == 0 {
            return;
        }
        // If the system refuses, the pages stay until the process ends.
        let _ = platform::give_back(&self.file, self.offset_bytes, self.len_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::{HOST_PAGE, PristineRange};

    #[test]
    fn ranges_share_a_file_and_give_their_pages_back() {
        let one = PristineRange::take(1).expect("a file in memory");
        let other = PristineRange::take(3 * HOST_PAGE).expect("a file in memory");
        assert_eq!(
            one.file().metadata().unwrap().ino(),
            other.file().metadata().unwrap().ino()
        );
        assert!(one.offset_bytes() + HOST_PAGE as u64 <= other.offset_bytes());
        let offset = other.offset_bytes();
        other.file().write_all_at(b"x", offset).unwrap();
        drop(other);
        let mut byte = [1];
        one.file().read_exact_at(&mut byte, offset).unwrap();
        assert_eq!(byte, [0]);
    }
}
