//! The names in a directory in memory: paths, and what changes names.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Content, NAME_BYTES_MAX, NODE_BYTES, NODES_MAX, Node, Scratch};
use crate::policy::files::errno;
use crate::policy::files::stat::Entry;

/// The end of a path: the directory that it is in and its name there. The name is empty for a path that
/// ends at the directory itself.
pub(super) struct End<'p> {
    directory: usize,
    name: &'p [u8],
}

impl Scratch {
    /// Returns the names in a directory, in the order of their bytes.
    pub(in crate::policy::files) fn entries(&self, node: usize) -> Result<Vec<Entry>, i32> {
        let Content::Directory { entries, .. } = &self.nodes[node].content else {
            return Err(errno::NOTDIR);
        };
        let entries = entries.iter().map(|(name, &node)| Entry {
            name: name.clone(),
            inode: node as u64 + 1,
            kind: self.stat(node).kind,
        });
        Ok(entries.collect())
    }

    pub(in crate::policy::files) fn create_directory(
        &mut self,
        base: usize,
        path: &[u8],
    ) -> Result<(), i32> {
        let end = self.end_of(base, path)?;
        if self.find(&end)?.is_some() {
            return Err(errno::EXIST);
        }
        let content = Content::Directory {
            entries: BTreeMap::new(),
            parent: end.directory,
        };
        self.add(&end, content).map(drop)
    }

    /// Removes a file, or an empty directory.
    pub(in crate::policy::files) fn remove(
        &mut self,
        base: usize,
        path: &[u8],
        directory: bool,
    ) -> Result<(), i32> {
        let end = self.end_of(base, path)?;
        let node = self.find(&end)?.ok_or(errno::NOENT)?;
        if end.name.is_empty() {
            // The directory that a descriptor stands for.
            return Err(errno::INVAL);
        }
        match &self.nodes[node].content {
            Content::File(_) if directory => return Err(errno::NOTDIR),
            Content::Directory { .. } if !directory => return Err(errno::ISDIR),
            Content::Directory { entries, .. } if !entries.is_empty() => {
                return Err(errno::NOTEMPTY);
            }
            Content::File(_) | Content::Directory { .. } => {}
        }
        self.change()?;
        self.unlink(&end, node);
        Ok(())
    }

    /// Moves a file or directory to another name, in the place of a file or an empty directory there.
    pub(in crate::policy::files) fn rename(
        &mut self,
        (base, path): (usize, &[u8]),
        (new_base, new_path): (usize, &[u8]),
    ) -> Result<(), i32> {
        let from = self.end_of(base, path)?;
        let to = self.end_of(new_base, new_path)?;
        let node = self.find(&from)?.ok_or(errno::NOENT)?;
        if from.name.is_empty() || to.name.is_empty() {
            return Err(errno::INVAL);
        }
        // All directories above a linked one are linked, so that their parents lead to the root.
        if !self.nodes[to.directory].linked {
            return Err(errno::NOENT);
        }
        let replaced = self.find(&to)?;
        if replaced == Some(node) {
            return Ok(());
        }
        let is_directory = matches!(self.nodes[node].content, Content::Directory { .. });
        if is_directory && self.is_within(to.directory, node) {
            return Err(errno::INVAL);
        }
        if let Some(replaced) = replaced {
            match &self.nodes[replaced].content {
                Content::File(_) if is_directory => return Err(errno::NOTDIR),
                Content::Directory { .. } if !is_directory => return Err(errno::ISDIR),
                Content::Directory { entries, .. } if !entries.is_empty() => {
                    return Err(errno::NOTEMPTY);
                }
                Content::File(_) | Content::Directory { .. } => {}
            }
        }
        let (old, new) = (from.name.len() as u64, to.name.len() as u64);
        if new > old && new - old > self.room() {
            return Err(errno::NOSPC);
        }
        self.change()?;
        if let Some(replaced) = replaced {
            self.unlink(&to, replaced);
        }
        self.names_of(from.directory).remove(from.name);
        self.names_of(to.directory).insert(to.name.into(), node);
        self.nodes[node].name_bytes = new;
        self.bytes = self.bytes - old + new;
        if let Content::Directory { parent, .. } = &mut self.nodes[node].content {
            *parent = to.directory;
        }
        Ok(())
    }

    /// Follows a path up to its last name.
    pub(super) fn end_of<'p>(&self, base: usize, path: &'p [u8]) -> Result<End<'p>, i32> {
        if path.is_empty() {
            return Err(errno::NOENT);
        }
        if path.contains(&0) {
            return Err(errno::INVAL);
        }
        if path[0] == b'/' {
            return Err(errno::NOTCAPABLE);
        }
        // The directories from the base on, so that `..` does not lead above it.
        let mut way = vec![base];
        let mut name: &[u8] = b"";
        for part in path.split(|&byte| byte == b'/') {
            if part.is_empty() || part == b"." {
                continue;
            }
            if part.len() > NAME_BYTES_MAX {
                return Err(errno::NAMETOOLONG);
            }
            if !name.is_empty() {
                let end = End {
                    directory: *way.last().unwrap_or(&base),
                    name,
                };
                let node = self.find(&end)?.ok_or(errno::NOENT)?;
                if matches!(self.nodes[node].content, Content::File(_)) {
                    return Err(errno::NOTDIR);
                }
                way.push(node);
                name = b"";
            }
            if part == b".." {
                if way.len() == 1 {
                    return Err(errno::NOTCAPABLE);
                }
                way.pop();
            } else {
                name = part;
            }
        }
        Ok(End {
            directory: *way.last().unwrap_or(&base),
            name,
        })
    }

    /// Returns the node at the end of a path, if it exists.
    pub(super) fn find(&self, end: &End<'_>) -> Result<Option<usize>, i32> {
        let node = &self.nodes[end.directory];
        let Content::Directory { entries, .. } = &node.content else {
            return Err(errno::NOTDIR);
        };
        if end.name.is_empty() {
            return Ok(Some(end.directory));
        }
        Ok(entries.get(end.name).copied())
    }

    fn names_of(&mut self, directory: usize) -> &mut BTreeMap<Box<[u8]>, usize> {
        match &mut self.nodes[directory].content {
            Content::Directory { entries, .. } => entries,
            // `find` has made sure that it is a directory.
            Content::File(_) => unreachable!("a file has no names"),
        }
    }

    pub(super) fn add(&mut self, end: &End<'_>, content: Content) -> Result<usize, i32> {
        // A directory that was removed takes no names.
        if !self.nodes[end.directory].linked {
            return Err(errno::NOENT);
        }
        let bytes = NODE_BYTES + end.name.len() as u64;
        let full = self.nodes.len() - self.free.len() >= NODES_MAX;
        if full || bytes > self.room() {
            return Err(errno::NOSPC);
        }
        self.change()?;
        self.bytes += bytes;
        let added = Node {
            content,
            name_bytes: end.name.len() as u64,
            open: 0,
            linked: true,
        };
        let node = match self.free.pop() {
            Some(node) => {
                self.nodes[node] = added;
                node
            }
            None => {
                self.nodes.push(added);
                self.nodes.len() - 1
            }
        };
        self.names_of(end.directory).insert(end.name.into(), node);
        Ok(node)
    }

    fn unlink(&mut self, end: &End<'_>, node: usize) {
        self.names_of(end.directory).remove(end.name);
        self.nodes[node].linked = false;
        self.release(node);
    }

    /// Frees what has no name and no descriptor.
    pub(super) fn release(&mut self, node: usize) {
        let gone = &mut self.nodes[node];
        if gone.linked || gone.open > 0 {
            return;
        }
        let content = match std::mem::replace(&mut gone.content, Content::File(Arc::default())) {
            Content::File(content) => content.len() as u64,
            Content::Directory { .. } => 0,
        };
        self.bytes -= NODE_BYTES + gone.name_bytes + content;
        self.free.push(node);
    }

    /// Returns true if `directory` is `outer`, or below it.
    fn is_within(&self, mut directory: usize, outer: usize) -> bool {
        // There are at most `NODES_MAX` directories on the way.
        loop {
            if directory == outer {
                return true;
            }
            match self.nodes[directory].content {
                Content::Directory { parent, .. } if parent != directory => directory = parent,
                Content::Directory { .. } | Content::File(_) => return false,
            }
        }
    }
}
