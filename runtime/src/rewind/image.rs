//! The pristine contents of a module's memory, and the pages that its calls write.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::ptr;

use ferrite_cache::{ImageRun, WASM_PAGE_BYTES};
use memmap2::{Mmap, MmapOptions};
use parking_lot::Mutex;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect};

use super::arena::MemoryHandle;
use super::pristine_file::PristineRange;
use super::runs::Runs;
use super::slot::MemorySlot;
use super::touched::touched;
use super::{HOST_PAGE, PAGES_MAX, ZEROS};

/// Reason why a memory was not reset to the image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The operating system refused a mapping.
    #[error("the pristine image of the memory cannot be mapped")]
    Map(#[from] io::Error),
    /// The memory differs in size from the image, or is gone.
    #[error("the memory does not have the size of its pristine image")]
    Size,
}

/// The pristine contents of a module's memory, shared by all of its instances.
///
/// An instance maps the image privately, so a page that it never writes costs it no memory.
#[derive(Debug)]
pub(super) struct Image {
    /// Size of the memory, in bytes.
    len: usize,
    /// The parts that hold data, in rising order; the rest are zeros.
    parts: Box<[Part]>,
    /// The contents of all parts.
    contents: Mmap,
    /// After the mapping of it, so that it is given back last.
    backing: Backing,
    /// Pages written by calls of any instance, sorted; at most `PAGES_MAX`.
    learned: Mutex<Vec<u32>>,
}

/// A part of a memory that holds data.
#[derive(Clone, Debug)]
struct Part {
    /// Its place in the memory, in bytes; pages of the host.
    memory: Range<usize>,
    /// Offset of its contents.
    at: usize,
}

/// The file that instances map.
#[derive(Debug)]
enum Backing {
    /// A part of the file of all pristine memories.
    Pristine(PristineRange),
    /// A verified file of the cache, or one in memory, from an offset on. It never changes.
    Stored(File, u64),
}

impl Backing {
    fn file(&self) -> (&File, u64) {
        match self {
            Self::Pristine(range) => (range.file(), range.offset_bytes()),
            Self::Stored(file, start) => (file, *start),
        }
    }
}

impl Image {
    /// Copies `memory`, which must belong to an instance: private, and a multiple of WebAssembly's
    /// page size.
    pub(super) fn capture(memory: &[u8]) -> io::Result<Self> {
        let range = PristineRange::take(memory.len())?;
        // Pages of zeros stay holes, which take no memory; others that are neighbours are written at once.
        let mut pending = 0..0;
        let write = |bytes: Range<usize>| {
            let at = range.offset_bytes() + bytes.start as u64;
            range.file().write_all_at(&memory[bytes], at)
        };
        for index in touched(memory) {
            let start = index * HOST_PAGE;
            let end = memory.len().min(start + HOST_PAGE);
            let page = &memory[start..end];
            if page == &ZEROS[..page.len()] {
                continue;
            }
            if pending.end != start {
                write(std::mem::replace(&mut pending, start..start))?;
            }
            pending.end = end;
        }
        write(pending)?;
        // SAFETY: the range belongs to this image alone, which from here on only reads it, so the
        // mapping never changes. Nothing outside this process can open the file.
        let contents = unsafe {
            MmapOptions::new()
                .offset(range.offset_bytes())
                .len(memory.len())
                .map(range.file())?
        };
        let whole = Part {
            memory: 0..memory.len(),
            at: 0,
        };
        Ok(Self {
            len: memory.len(),
            parts: Some(whole)
                .filter(|part| !part.memory.is_empty())
                .into_iter()
                .collect(),
            contents,
            backing: Backing::Pristine(range),
            learned: Mutex::new(Vec::new()),
        })
    }

    /// Takes the image of a memory of `len` bytes that a file holds from `start` on. The file must have all
    /// pages of `runs`, which lie within the memory in rising order, and never change.
    pub(super) fn stored(
        file: File,
        start: u64,
        runs: &[ImageRun],
        len: usize,
    ) -> io::Result<Self> {
        let mut end = 0;
        let parts: Box<[Part]> = runs
            .iter()
            .map(|run| {
                let at = end;
                end += run.len_bytes();
                Part {
                    memory: run.memory_range(),
                    at,
                }
            })
            .collect();
        // SAFETY: the caller promises that nobody changes or shortens the file. (It is the cache's, which only
        // unlinks files, or sealed.)
        let contents = unsafe { MmapOptions::new().offset(start).len(end).map(&file)? };
        Ok(Self {
            len,
            parts,
            contents,
            backing: Backing::Stored(file, start),
            learned: Mutex::new(Vec::new()),
        })
    }

    /// Returns the size of the memory, in bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the parts that hold data: their places in the memory, and their contents.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.parts.iter().map(|part| {
            let contents = &self.contents[part.at..part.at + part.memory.len()];
            (part.memory.start, contents)
        })
    }

    /// Returns the page at an offset in the memory.
    pub(super) fn page(&self, offset: usize) -> &[u8] {
        let part = self.parts.iter().find(|part| part.memory.contains(&offset));
        let page = part.and_then(|part| {
            let at = part.at + (offset - part.memory.start);
            self.contents.get(at..at + HOST_PAGE)
        });
        page.unwrap_or(&ZEROS)
    }

    /// Returns the offset of the first byte in which `memory`, of the same size, differs.
    pub(super) fn difference(&self, memory: &[u8]) -> Option<(usize, u8)> {
        memory
            .chunks(HOST_PAGE)
            .enumerate()
            .map(|(page, now)| (page * HOST_PAGE, now))
            .filter(|(offset, now)| self.page(*offset)[..now.len()] != **now)
            .find_map(|(offset, now)| {
                let then = self.page(offset);
                let at = now.iter().zip(then).position(|(now, then)| now != then)?;
                Some((offset + at, then[at]))
            })
    }

    /// Returns the mappings that a memory needs for the image, beside its own.
    pub(super) fn mappings(&self) -> usize {
        match &*self.parts {
            [] => 0,
            [whole] if whole.memory == (0..self.len) => 0,
            parts => 2 * parts.len(),
        }
    }

    /// Returns the size of the image, in pages of WebAssembly.
    pub(super) fn wasm_pages(&self) -> u64 {
        self.len() as u64 / WASM_PAGE_BYTES
    }

    /// Maps the image over a memory, protects it, and starts to record writes.
    /// Pages that siblings have written are writable from the start. Returns false if the process
    /// has no mappings left for those; the memory is then in no defined state.
    pub(super) fn show(&self, memory: &MemoryHandle) -> Result<bool, ImageError> {
        let pages = self.learned.lock().clone();
        let slot = self.slot(memory)?;
        if !slot.claim_image(self.mappings()) {
            return Ok(false);
        }
        self.map(memory, ProtFlags::READ)?;
        let image_pages = (self.len() / HOST_PAGE) as u32;
        let runs = Runs::new(pages.iter().copied()).count();
        // The others are of growth, and stay inaccessible until there is some.
        for run in Runs::new(pages.iter().copied().filter(|&page| page < image_pages)) {
            // SAFETY: these pages lie within the image's length, which is the memory's.
            unsafe {
                mprotect(
                    ptr::with_exposed_provenance_mut(memory.start() + run.start()),
                    run.len(),
                    MprotectFlags::READ | MprotectFlags::WRITE,
                )
            }
            .map_err(io::Error::from)?;
        }
        Ok(slot.arm(&pages, runs))
    }

    /// Maps the image over a memory, all of it writable, without recording writes. Repeating it
    /// undoes every write, for a system call for each part of the image plus a fault for each page that is
    /// written later. If the process has no mappings left for the parts, they are copied, and the result is false.
    pub(super) fn show_writable(&self, memory: &MemoryHandle) -> Result<bool, ImageError> {
        let slot = memory.slot().ok_or(ImageError::Size)?;
        let (len, size) = (self.len(), slot.size());
        if size > len {
            // SAFETY: the range is the memory's growth, whose owner has lent it to us exclusively. A
            // new inaccessible mapping takes its place and gives its pages back.
            unsafe {
                mmap_anonymous(
                    ptr::with_exposed_provenance_mut(memory.start() + len),
                    size - len,
                    ProtFlags::empty(),
                    MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                )
            }
            .map_err(io::Error::from)?;
            slot.set_size(len);
        }
        let writable = ProtFlags::READ | ProtFlags::WRITE;
        if self.slot(memory)?.claim_image(self.mappings()) {
            self.map(memory, writable)?;
            return Ok(true);
        }
        self.clear(memory, 0..self.len(), writable)?;
        for (start, contents) in self.parts() {
            // SAFETY: the range lies within the memory, which was made writable above and whose owner has lent
            // it to us exclusively; image and memory are two mappings.
            unsafe {
                ptr::copy_nonoverlapping(
                    contents.as_ptr(),
                    ptr::with_exposed_provenance_mut::<u8>(memory.start() + start),
                    contents.len(),
                );
            }
        }
        Ok(false)
    }

    /// Returns the record of a memory, which must have the image's size.
    fn slot<'m>(&self, memory: &'m MemoryHandle) -> Result<&'m MemorySlot, ImageError> {
        let slot = memory.slot().ok_or(ImageError::Size)?;
        if slot.size() == self.len() {
            Ok(slot)
        } else {
            Err(ImageError::Size)
        }
    }

    /// Maps the image privately over a memory of the same size, and zeros around its parts.
    fn map(&self, memory: &MemoryHandle, protection: ProtFlags) -> Result<(), ImageError> {
        let (file, start) = self.backing.file();
        let mut end = 0;
        for part in &self.parts {
            self.clear(memory, end..part.memory.start, protection)?;
            end = part.memory.end;
            // SAFETY: the range lies within the memory, which has the image's size and whose owner has lent it
            // to us exclusively; its contents are replaced, nothing else.
            unsafe {
                mmap(
                    ptr::with_exposed_provenance_mut(memory.start() + part.memory.start),
                    part.memory.len(),
                    protection,
                    MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                    file,
                    start + part.at as u64,
                )
            }
            .map_err(io::Error::from)?;
        }
        self.clear(memory, end..self.len(), protection)
    }

    /// Maps zeros over a range of a memory of the same size.
    fn clear(
        &self,
        memory: &MemoryHandle,
        range: Range<usize>,
        protection: ProtFlags,
    ) -> Result<(), ImageError> {
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: the callers have compared the memory's size with the image's, within which the range lies;
        // the memory's owner has lent it to us exclusively; its contents are replaced, nothing else.
        unsafe {
            mmap_anonymous(
                ptr::with_exposed_provenance_mut(memory.start() + range.start),
                range.len(),
                protection,
                MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
            )
        }
        .map_err(io::Error::from)?;
        Ok(())
    }

    /// Resets the memory: copies written pages back from the image, and makes growth zero and
    /// inaccessible. Returns the number of pages of growth that were written without being recorded.
    pub(super) fn restore(&self, memory: &MemoryHandle, slot: &MemorySlot) -> io::Result<usize> {
        let start = memory.start();
        let size = slot.size();
        for page in slot.pages() {
            let offset = page as usize * HOST_PAGE;
            if offset >= size {
                // Recorded in a larger memory, and inaccessible in this one.
                continue;
            }
            let snapshot = self.page(offset);
            // SAFETY: the page is one of the memory's, writable since it was recorded, and its
            // owner has lent the memory to us exclusively; image and memory are two mappings.
            unsafe {
                ptr::copy_nonoverlapping(
                    snapshot.as_ptr(),
                    ptr::with_exposed_provenance_mut::<u8>(start + offset),
                    HOST_PAGE,
                );
            }
        }
        if size == self.len() {
            return Ok(0);
        }
        let unrecorded = slot.unrecorded(size);
        let mut written = 0;
        for offset in unrecorded.clone().step_by(HOST_PAGE) {
            // SAFETY: growth to this size has made the page writable; its owner has lent the memory
            // to us exclusively, and a page is aligned for words.
            let words = unsafe {
                &mut *ptr::with_exposed_provenance_mut::<[u64; HOST_PAGE / 8]>(start + offset)
            };
            if words.iter().fold(0, |all, word| all | word) != 0 {
                words.fill(0);
                written += 1;
            }
        }
        let end = slot
            .runs(unrecorded.end / HOST_PAGE, size / HOST_PAGE)
            .last()
            .map_or(unrecorded.end, |run| run.start() + run.len());
        // SAFETY: the range lies behind the image and within the memory, whose owner has lent it to us
        // exclusively. After this it is no part of the memory.
        unsafe {
            mprotect(
                ptr::with_exposed_provenance_mut(start + self.len()),
                end - self.len(),
                MprotectFlags::empty(),
            )
        }?;
        slot.set_size(self.len());
        Ok(written)
    }

    /// Adds the pages recorded in `slot` to those that new instances start with as writable.
    pub(super) fn teach(&self, slot: &MemorySlot) {
        let mut learned = self.learned.lock();
        for page in slot.pages() {
            if let Err(place) = learned.binary_search(&page)
                && learned.len() < PAGES_MAX / 2
            {
                learned.insert(place, page);
            }
        }
    }

    /// Lets new instances start with no writable pages, until instances teach it again.
    pub(super) fn forget(&self) {
        self.learned.lock().clear();
    }

    /// Returns the number of pages that are writable from the start in new instances.
    pub(super) fn learned(&self) -> usize {
        self.learned.lock().len()
    }
}
