//! A directory in memory that a call may write, and that goes with the call.
//!
//! Nothing of it reaches the disk, so no path leads out of it. There are no links.

use std::collections::BTreeMap;

use super::errno;
use super::stat::{Entry, FileStat};

/// Most files and directories.
const NODES_MAX: usize = 4096;

/// Bytes that a file or directory counts besides its content and the text of its name.
const NODE_BYTES: u64 = 256;

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

/// A directory in memory.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// The first is the directory itself.
    nodes: Vec<Node>,
    /// Places in `nodes` that nothing refers to.
    free: Vec<usize>,
    bytes: u64,
    bytes_max: u64,
}

#[derive(Debug)]
struct Node {
    content: Content,
    /// Bytes of its name.
    name_bytes: u64,
    /// Number of descriptors.
    open: u32,
    /// False once it was removed from its directory.
    linked: bool,
}

#[derive(Debug)]
enum Content {
    File(Vec<u8>),
    Directory {
        entries: BTreeMap<Box<[u8]>, usize>,
        parent: usize,
    },
}

/// The end of a path: the directory that it is in and its name there. The name is empty for a path that
/// ends at the directory itself.
struct End<'p> {
    directory: usize,
    name: &'p [u8],
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
        }
    }

    /// Returns how many bytes more there may be.
    pub(super) fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(self.bytes)
    }

    /// Opens a path beneath a directory; [`Scratch::close`] closes what it returns.
    pub(super) fn open(&mut self, base: usize, path: &[u8], how: Opening) -> Result<usize, i32> {
        let end = self.end_of(base, path)?;
        let node = match self.find(&end)? {
            Some(_) if how.create && how.exclusive => return Err(errno::EXIST),
            Some(node) => node,
            None if how.create && !how.directory => {
                let content = Content::File(Vec::new());
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
        if end > self.stat(node).len {
            self.set_len(node, end)?;
        }
        let Content::File(content) = &mut self.nodes[node].content else {
            return Err(errno::ISDIR);
        };
        // Both are within the content, which is that long now.
        content[offset as usize..end as usize].copy_from_slice(bytes);
        Ok(())
    }

    /// Makes a file shorter, or longer by zeros.
    pub(super) fn set_len(&mut self, node: usize, len: u64) -> Result<(), i32> {
        let room = self.room();
        let Content::File(content) = &mut self.nodes[node].content else {
            return Err(errno::ISDIR);
        };
        let old = content.len() as u64;
        if len > old {
            let more = len - old;
            if more > room {
                return Err(errno::NOSPC);
            }
            // At most the bytes that the operator allows.
            let wanted = usize::try_from(more).map_err(|_| errno::NOSPC)?;
            content.try_reserve(wanted).map_err(|_| errno::NOSPC)?;
            content.resize(content.len() + wanted, 0);
            self.bytes += more;
        } else {
            content.truncate(len as usize);
            if content.capacity() / 2 > content.len() {
                content.shrink_to_fit();
            }
            self.bytes -= old - len;
        }
        Ok(())
    }

    /// Returns the names in a directory, in the order of their bytes.
    pub(super) fn entries(&self, node: usize) -> Result<Vec<Entry>, i32> {
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

    pub(super) fn create_directory(&mut self, base: usize, path: &[u8]) -> Result<(), i32> {
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
    pub(super) fn remove(&mut self, base: usize, path: &[u8], directory: bool) -> Result<(), i32> {
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
        self.unlink(&end, node);
        Ok(())
    }

    /// Moves a file or directory to another name, in the place of a file or an empty directory there.
    pub(super) fn rename(
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
    fn end_of<'p>(&self, base: usize, path: &'p [u8]) -> Result<End<'p>, i32> {
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
    fn find(&self, end: &End<'_>) -> Result<Option<usize>, i32> {
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

    fn add(&mut self, end: &End<'_>, content: Content) -> Result<usize, i32> {
        // A directory that was removed takes no names.
        if !self.nodes[end.directory].linked {
            return Err(errno::NOENT);
        }
        let bytes = NODE_BYTES + end.name.len() as u64;
        let full = self.nodes.len() - self.free.len() >= NODES_MAX;
        if full || bytes > self.room() {
            return Err(errno::NOSPC);
        }
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
    fn release(&mut self, node: usize) {
        let gone = &mut self.nodes[node];
        if gone.linked || gone.open > 0 {
            return;
        }
        let content = match std::mem::replace(&mut gone.content, Content::File(Vec::new())) {
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

#[cfg(test)]
mod tests {
    use super::{Content, NODE_BYTES, NODES_MAX, Opening, Scratch};
    use crate::policy::files::errno;

    const CREATE: Opening = Opening {
        directory: false,
        create: true,
        exclusive: false,
        truncate: false,
        write: true,
        append: false,
    };

    fn create(scratch: &mut Scratch, path: &str, content: &[u8]) -> Result<(), i32> {
        let node = scratch.open(Scratch::ROOT, path.as_bytes(), CREATE)?;
        let written = scratch.write(node, content, 0);
        scratch.close(node);
        written
    }

    #[test]
    fn what_is_removed_gives_its_room_back() {
        let mut scratch = Scratch::new(4 * NODE_BYTES);
        for _ in 0..100 {
            create(&mut scratch, "f", &[1; 500]).expect("there is room");
            assert_eq!(create(&mut scratch, "f", &[1; 800]), Err(errno::NOSPC));
            scratch
                .remove(Scratch::ROOT, b"f", false)
                .expect("it is there");
            scratch
                .create_directory(Scratch::ROOT, b"d")
                .expect("there is room");
            scratch
                .remove(Scratch::ROOT, b"d", true)
                .expect("it is empty");
        }
        assert_eq!((scratch.bytes, scratch.nodes.len()), (0, 2));
        // While it is open, it stays without a name.
        let node = scratch.open(Scratch::ROOT, b"f", CREATE).expect("room");
        scratch.write(node, b"abc", 2).expect("room");
        scratch
            .remove(Scratch::ROOT, b"f", false)
            .expect("it is there");
        let mut read = [9; 8];
        assert_eq!(scratch.read(node, &mut read, 1), Ok(4));
        assert_eq!(&read[..4], b"\0abc");
        scratch.close(node);
        assert_eq!(scratch.bytes, 0);
    }

    #[test]
    fn a_directory_does_not_move_into_itself() {
        let mut scratch = Scratch::new(1 << 20);
        let root = Scratch::ROOT;
        for path in [&b"a"[..], b"a/b", b"a/b/c", b"z"] {
            scratch.create_directory(root, path).expect("room");
        }
        create(&mut scratch, "a/b/f", b"x").expect("room");
        for to in [&b"a/b/c/a"[..], b"a/x"] {
            assert_eq!(scratch.rename((root, b"a"), (root, to)), Err(errno::INVAL));
        }
        scratch
            .rename((root, b"a/b"), (root, b"z"))
            .expect("z is empty");
        assert_eq!(scratch.stat_beneath(root, b"z/f").map(|it| it.len), Ok(1));
        assert_eq!(
            scratch.rename((root, b"a"), (root, b"z")),
            Err(errno::NOTEMPTY)
        );
        assert_eq!(
            scratch.rename((root, b"a"), (root, b"z/f")),
            Err(errno::NOTDIR)
        );
        assert_eq!(
            scratch.rename((root, b"z/f"), (root, b"a")),
            Err(errno::ISDIR)
        );
        scratch
            .rename((root, b"z/f"), (root, b"z/g"))
            .expect("free");
        assert_eq!(scratch.stat_beneath(root, b"z/f"), Err(errno::NOENT));
    }

    #[test]
    fn nothing_moves_into_a_directory_that_was_removed() {
        let mut scratch = Scratch::new(1 << 20);
        let root = Scratch::ROOT;
        for path in [&b"x"[..], b"x/d", b"w", b"q"] {
            scratch.create_directory(root, path).expect("room");
        }
        let opening = Opening::default();
        let d = scratch.open(root, b"x/d", opening).expect("it is there");
        let w = scratch.open(root, b"w", opening).expect("it is there");
        for path in [&b"x/d"[..], b"x"] {
            scratch.remove(root, path, true).expect("it is empty");
        }
        let moved = scratch.rename((root, b"w"), (d, b"w"));
        assert_eq!(moved, Err(errno::NOENT));
        // Whoever accepted that would go in a circle here.
        scratch.create_directory(w, b"z").expect("room");
        assert_eq!(scratch.rename((root, b"q"), (w, b"q")), Ok(()));
        assert!(scratch.stat_beneath(root, b"w/q").is_ok());
    }

    #[test]
    fn a_file_that_is_shortened_gives_its_memory_back() {
        let mut scratch = Scratch::new(1 << 20);
        let node = scratch.open(Scratch::ROOT, b"f", CREATE).expect("room");
        scratch.set_len(node, 500_000).expect("room");
        scratch.set_len(node, 1).expect("it is longer");
        let Content::File(content) = &scratch.nodes[node].content else {
            panic!("it is a file");
        };
        assert!(content.capacity() < 1000, "{}", content.capacity());
    }

    #[test]
    fn paths_end_at_the_directory() {
        let mut scratch = Scratch::new(1 << 20);
        let root = Scratch::ROOT;
        scratch.create_directory(root, b"a").expect("room");
        create(&mut scratch, "f", b"x").expect("room");
        let a = scratch
            .open(root, b"a", Opening::default())
            .expect("it is there");
        for (base, path, expected) in [
            (root, &b".."[..], errno::NOTCAPABLE),
            (root, b"/f", errno::NOTCAPABLE),
            (root, b"a/../../f", errno::NOTCAPABLE),
            (a, b"../f", errno::NOTCAPABLE),
            (root, b"", errno::NOENT),
            (root, b"f\0", errno::INVAL),
            (root, b"f/x", errno::NOTDIR),
            (root, b"none/x", errno::NOENT),
            (root, &[b'x'; 256], errno::NAMETOOLONG),
        ] {
            assert_eq!(scratch.open(base, path, CREATE), Err(expected), "{path:?}");
        }
        assert_eq!(
            scratch.stat_beneath(root, b"./a//../f").map(|it| it.len),
            Ok(1)
        );
        assert_eq!(scratch.remove(a, b".", true), Err(errno::INVAL));
        scratch.remove(root, b"a", true).expect("it is empty");
        assert_eq!(
            scratch.open(a, b"f", CREATE),
            Err(errno::NOENT),
            "it is gone"
        );
    }

    #[test]
    fn names_are_bounded() {
        let mut scratch = Scratch::new(1 << 40);
        let made =
            (0..).map_while(|number: u32| create(&mut scratch, &number.to_string(), b"").ok());
        assert_eq!(made.count(), NODES_MAX - 1);
        let node = scratch
            .open(Scratch::ROOT, b"1", CREATE)
            .expect("it is there");
        assert_eq!(scratch.write(node, b"x", u64::MAX), Err(errno::NOSPC));
        assert_eq!(scratch.set_len(node, u64::MAX), Err(errno::NOSPC));
    }
}
