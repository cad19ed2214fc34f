//! The number of the last commit that was synced, kept outside the engine's files.
//!
//! The engine drops an unreadable end of its journal. That is right for a write that a crash cut
//! off, and wrong for damage in the middle. The mark tells the two apart: it is set after each
//! sync, so data that ends before it has lost something.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// A file of 16 bytes: the number and its complement, little-endian.
pub(in crate::durable) struct Mark(File);

impl Mark {
    pub(in crate::durable) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join("synced");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        Ok(Self(file))
    }

    /// Returns the number; 0 if there is none, or if a crash of the machine left half of it.
    pub(in crate::durable) fn read(&self) -> io::Result<u64> {
        let mut bytes = [0; 16];
        match self.0.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            Err(error) => return Err(error),
        }
        let [number, complement] =
            [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i])));
        Ok(if number == !complement { number } else { 0 })
    }

    /// Sets the number. It need not reach the disk at once: an old mark is only less strict.
    pub(in crate::durable) fn set(&self, number: u64) -> io::Result<()> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..].copy_from_slice(&(!number).to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }
}
