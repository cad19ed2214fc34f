//! The canonical tar format: name and size of a member determine its header.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::error::BundleError;

/// Size of a tar block, in bytes.
pub(super) const BLOCK: usize = 512;

/// Zero bytes at the end of an archive.
pub(super) const TRAILER: usize = 2 * BLOCK;

/// Returns the canonical header: ustar, a regular file, mode 0644, owner and time zero.
pub(super) fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut header = Header::new_ustar();
    header
        .set_path(name)
        .expect("the names of members are short and relative");
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    *header.as_bytes()
}

/// Returns the number of zero bytes after `size` bytes of content.
pub(super) fn padding(size: u64) -> usize {
    ((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64) as usize
}

/// Reads an archive block by block and compares each with the canonical form.
#[derive(Debug)]
pub(super) struct TarReader<R> {
    input: R,
    offset: u64,
}

impl<R: Read> TarReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, offset: 0 }
    }

    /// Reads the next header block without checking it.
    pub(super) fn header_block(&mut self, member: &str) -> Result<[u8; BLOCK], BundleError> {
        let mut block = [0; BLOCK];
        self.fill(&mut block, member)?;
        Ok(block)
    }

    /// Returns the size in a header, if it is the canonical header of `member`.
    pub(super) fn stated_size(block: &[u8; BLOCK], member: &str) -> Option<u64> {
        let size = Header::from_byte_slice(block).entry_size().ok()?;
        (*block == header(member, size)).then_some(size)
    }

    /// Returns an error about the header block that was just read.
    pub(super) fn wrong_header(&self, block: &[u8; BLOCK], member: &str) -> BundleError {
        // What is no bundle at all, such as a module, is told by its first bytes.
        let what = if self.offset == BLOCK as u64 && !block.starts_with(b"manifest.json\0") {
            "it does not begin with manifest.json".to_owned()
        } else {
            format!("the header is not the one that {member} must have here")
        };
        BundleError::NotCanonical {
            what,
            offset: self.offset - BLOCK as u64,
        }
    }

    /// Reads a header, which must be the canonical one of `member` with this size.
    pub(super) fn expect_header(&mut self, member: &str, size: u64) -> Result<(), BundleError> {
        let block = self.header_block(member)?;
        if block == header(member, size) {
            return Ok(());
        }
        Err(self.wrong_header(&block, member))
    }

    /// Reads the content of a member and its padding; passes the content to `piece` in parts.
    pub(super) fn content(
        &mut self,
        member: &str,
        size: u64,
        mut piece: impl FnMut(&[u8]),
    ) -> Result<(), BundleError> {
        let mut buffer = vec![0; 64 * 1024];
        let mut left = size;
        while left > 0 {
            let now = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            self.fill(&mut buffer[..now], member)?;
            piece(&buffer[..now]);
            left -= now as u64;
        }
        self.zeros(padding(size), member)
    }

    /// Reads the trailer, and checks that nothing follows it.
    pub(super) fn end(&mut self) -> Result<(), BundleError> {
        self.zeros(TRAILER, "the end of the archive")?;
        let mut byte = [0];
        match read_some(&mut self.input, &mut byte).map_err(BundleError::Read)? {
            0 => Ok(()),
            _ => Err(BundleError::NotCanonical {
                what: "bytes follow the end of the archive".to_owned(),
                offset: self.offset,
            }),
        }
    }

    fn zeros(&mut self, count: usize, member: &str) -> Result<(), BundleError> {
        let start = self.offset;
        let mut buffer = [0xff; TRAILER];
        let buffer = &mut buffer[..count];
        self.fill(buffer, member)?;
        if buffer.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        Err(BundleError::NotCanonical {
            what: format!("the padding of {member} is not zero"),
            offset: start,
        })
    }

    fn fill(&mut self, buffer: &mut [u8], member: &str) -> Result<(), BundleError> {
        self.input
            .read_exact(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => BundleError::Truncated {
                    member: member.to_owned(),
                },
                _ => BundleError::Read(error),
            })?;
        self.offset += buffer.len() as u64;
        Ok(())
    }
}

fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
