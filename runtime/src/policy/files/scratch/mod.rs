//! A directory in memory that a call may write. It goes with the call, or its next state is [`kept`].
//!
//! Nothing of it reaches the disk, so no path leads out of it. There are no links. Files are here, names
//! and paths in `tree`.
//!
//! [`kept`]: super::kept

mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::errno;
use super::stat::FileStat;

/// Most files and directories.
const NODES_MAX: usize = 4096;

/// Bytes that a file or directory counts besides its content and the text of its name.
pub(super) const NODE_BYTES: u64 = 256;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// The way in which a path is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opening {
    /// It must be a directory.
    pub(crate) directory: bool,
    pub(crate) create: bool,
    /// It must not exist.
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    pub(crate) write: bool,
    /// Writes go to the end.
    pub(crate) append: bool,
}

impl Opening {
    /// Returns true if a directory that can only be read refuses it.
    pub(super) fn changes(self) -> bool {
        self.create || self.truncate || self.write
    }
}

/// A directory in memory. A copy shares the contents of files until they are written.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    /// The first is the directory itself.
    nodes: Vec<Node>,
    /// Places in `nodes` that nothing refers to.
    free: Vec<usize>,
    bytes: u64,
    bytes_max: u64,
    /// True once something in it has changed.
    changed: bool,
    /// True if nothing in it may change.
    read_only: bool,
}

#[derive(Clone, Debug)]
struct Node {
    content: Content,
    /// Bytes of its name.
    name_bytes: u64,
    /// Number of descriptors.
    open: u32,
    /// False once it was removed from its directory.
    linked: bool,
}

#[derive(Clone, Debug)]
enum Content {
    File(Arc<Vec<u8>>),
    Directory {
        entries: BTreeMap<Box<[u8]>, usize>,
        parent: usize,
    },
}

impl Scratch {
    /// The directory itself.
    pub(super) const ROOT: usize = 0;

    pub(super) fn new(bytes_max: u64) -> Self {
        let root = Node {
            content: Content::Directory {
                entries: BTreeMap::new(),
                parent: Self::ROOT,
            },
            name_bytes: 0,
            open: 1,
            linked: true,
        };
        Self {
            nodes: vec![root],
            free: Vec::new(),
            bytes: 0,
            bytes_max,
            changed: false,
            read_only: false,
        }
    }

    /// Returns a copy that a call may use, or only read.
    pub(super) fn copy(&self, read_only: bool) -> Self {
        Self {
            changed: false,
            read_only,
            ..self.clone()
        }
    }

    /// Returns true if something in it has changed since it was copied.
    pub(super) fn has_changed(&self) -> bool {
        self.changed
    }

    /// Says that something is about to change.
    fn change(&mut self) -> Result<(), i32> {
        if self.read_only {
            return Err(errno::ROFS);
        }
        self.changed = true;
        Ok(())
    }

    /// Returns how many bytes more there may be.
    pub(super) fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(self.bytes)
    }

    /// Opens a path beneath a directory; [`Scratch::close`] closes what it returns.
    pub(super) fn open(&mut self, base: usize, path: &[u8], how: Opening) -> Result<usize, i32> {
        if how.changes() && self.read_only {
            return Err(errno::ROFS);
        }
        let end = self.end_of(base, path)?;
        let node = match self.find(&end)? {
            Some(_) if how.create && how.exclusive => return Err(errno::EXIST),
            Some(node) => node,
            None if how.create && !how.directory => {
                let content = Content::File(Arc::default());
                self.add(&end, content)?
            }
            None => return Err(errno::NOENT),
        };
        match &self.nodes[node].content {
            Content::Directory { .. } if how.write || how.truncate => return Err(errno::ISDIR),
            Content::File(_) if how.directory => return Err(errno::NOTDIR),
            Content::File(_) if how.truncate => self.set_len(node, 0)?,
            Content::File(_) | Content::Directory { .. } => {}
        }
        self.nodes[node].open += 1;
        Ok(node)
    }

    pub(super) fn close(&mut self, node: usize) {
        self.nodes[node].open -= 1;
        self.release(node);
    }

    pub(super) fn stat(&self, node: usize) -> FileStat {
        let (kind, len) = match &self.nodes[node].content {
            Content::File(content) => (FileStat::FILE, content.len() as u64),
            Content::Directory { .. } => (FileStat::DIRECTORY, 0),
        };
        FileStat {
            kind,
            len,
            inode: node as u64 + 1,
            modified_nanos: 0,
        }
    }

    pub(super) fn stat_beneath(&self, base: usize, path: &[u8]) -> Result<FileStat, i32> {
        let end = self.end_of(base, path)?;
        let node = self.find(&end)?.ok_or(errno::NOENT)?;
        Ok(self.stat(node))
    }

    /// Reads at `offset`; 0 bytes at the end.
    pub(super) fn read(&self, node: usize, buffer: &mut [u8], offset: u64) -> Result<usize, i32> {
        let Content::File(content) = &self.nodes[node].content else {
            return Err(errno::ISDIR);
        };
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| content.get(offset..))
            .unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    /// Writes all of `bytes` at `offset`; what is between the end and there becomes zeros.
    pub(super) fn write(&mut self, node: usize, bytes: &[u8], offset: u64) -> Result<(), i32> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(errno::NOSPC)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.change()?;
        if end > self.stat(node).len {
            self.set_len(node, end)?;
        }
        let Content::File(content) = &mut self.nodes[node].content else {
            return Err(errno::ISDIR);
        };
        // Both are within the content, which is that long now.
        Arc::make_mut(content)[offset as usize..end as usize].copy_from_slice(bytes);
        Ok(())
    }

    /// Makes a file shorter, or longer by zeros.
    pub(super) fn set_len(&mut self, node: usize, len: u64) -> Result<(), i32> {
        let room = self.room();
        let old = self.stat(node).len;
        self.change()?;
        let Content::File(content) = &mut self.nodes[node].content else {
            return Err(errno::ISDIR);
        };
        if len == old {
            return Ok(());
        }
        if len > old {
            let more = len - old;
            if more > room {
                return Err(errno::NOSPC);
            }
            // At most the bytes that the operator allows.
            let wanted = usize::try_from(more).map_err(|_| errno::NOSPC)?;
            let content = Arc::make_mut(content);
            content.try_reserve(wanted).map_err(|_| errno::NOSPC)?;
            content.resize(content.len() + wanted, 0);
            self.bytes += more;
            return Ok(());
        }
        match Arc::get_mut(content) {
            Some(content) => {
                content.truncate(len as usize);
                if content.capacity() / 2 > content.len() {
                    content.shrink_to_fit();
                }
            }
            None => *content = Arc::new(content[..len as usize].to_vec()),
        }
        self.bytes -= old - len;
        Ok(())
    }

    /// Returns how many bytes a write to a file copies first, because others read them too.
    pub(super) fn shared_len(&self, node: usize) -> u64 {
        match &self.nodes[node].content {
            Content::File(content) if Arc::strong_count(content) > 1 => content.len() as u64,
            Content::File(_) | Content::Directory { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests;
