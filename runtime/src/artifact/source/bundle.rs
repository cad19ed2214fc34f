//! A bundle, as an argument or a file, read once from start to end.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// First bytes of every bundle: the name in its first header.
pub(crate) const BUNDLE_MAGIC: &[u8] = b"manifest.json\0";

/// The same bytes in base64.
pub(crate) const BASE64_MAGIC: &[u8] = b"bWFuaWZlc3QuanNvbg";

/// A bundle that was neither read nor checked yet.
#[derive(Clone, Debug)]
pub enum BundleSource<'a> {
    /// Its bytes.
    Bytes(Cow<'a, [u8]>),
    /// A file, read as a stream: the bytes that were checked are kept, even if the file changes
    /// meanwhile.
    File(Arc<File>),
}

impl PartialEq for BundleSource<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(one), Self::Bytes(other)) => one == other,
            (Self::File(one), Self::File(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for BundleSource<'_> {}

impl BundleSource<'_> {
    /// Reads it from the start.
    pub(crate) fn reader(&self) -> BundleReader<'_> {
        match self {
            Self::Bytes(bytes) => BundleReader::Bytes(bytes),
            Self::File(file) => BundleReader::File { file, offset: 0 },
        }
    }
}

/// Reads a bundle.
#[derive(Debug)]
pub(crate) enum BundleReader<'a> {
    Bytes(&'a [u8]),
    File { file: &'a File, offset: u64 },
}

impl Read for BundleReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => bytes.read(buffer),
            Self::File { file, offset } => {
                let count = file.read_at(buffer, *offset)?;
                *offset += count as u64;
                Ok(count)
            }
        }
    }
}
