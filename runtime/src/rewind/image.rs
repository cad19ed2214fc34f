//! The pristine contents of a module's memory, and the pages that its calls write.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::ptr;

use ferrite_cache::WASM_PAGE_BYTES;
use memmap2::{Mmap, MmapOptions};
use parking_lot::Mutex;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect};

use super::arena::MemoryHandle;
use super::pristine_file::PristineRange;
use super::runs::Runs;
use super::slot::MemorySlot;
use super::touched::touched;
use super::{HOST_PAGE, PAGES_MAX};

/// Content of a page that was never written.
static ZEROS: [u8; HOST_PAGE] = [0; HOST_PAGE];

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
    contents: Mmap,
    /// After the mapping of it, so that it is given back last.
    range: PristineRange,
    /// Pages written by calls of any instance, sorted; at most `PAGES_MAX`.
    learned: Mutex<Vec<u32>>,
}

impl Image {
    /// Copies `memory`, which must belong to an instance: private, and a multiple of WebAssembly's
    /// page size.
    pub(super) fn capture(memory: &[u8]) -> io::Result<Self> {
        let range = PristineRange::take(memory.len())?;
        // Pages of zeros stay holes, which take no memory.
        for index in touched(memory) {
            let start = index * HOST_PAGE;
            let page = &memory[start..memory.len().min(start + HOST_PAGE)];
            if page != &ZEROS[..page.len()] {
                range
                    .file()
                    .write_all_at(page, range.offset_bytes() + start as u64)?;
            }
        }
        // SAFETY: the range belongs to this image alone, which from here on only reads it, so the
        // mapping never changes. Nothing outside this process can open the file.
        let contents = unsafe {
            MmapOptions::new()
                .offset(range.offset_bytes())
                .len(memory.len())
                .map(range.file())?
        };
        Ok(Self {
            contents,
            range,
            learned: Mutex::new(Vec::new()),
        })
    }

    /// Returns the size of the image, in bytes.
    pub(super) fn len(&self) -> usize {
        self.contents.len()
    }

    /// Returns the size of the image, in pages of WebAssembly.
    pub(super) fn wasm_pages(&self) -> u64 {
        self.len() as u64 / WASM_PAGE_BYTES
    }

    /// Returns the contents.
    pub(super) fn contents(&self) -> &[u8] {
        &self.contents
    }

    /// Maps the image over a memory, protects it, and starts to record writes.
    /// Pages that siblings have written are writable from the start. Returns false if the process
    /// has no mappings left for those; the memory is then in no defined state.
    pub(super) fn show(&self, memory: &MemoryHandle) -> Result<bool, ImageError> {
        let pages = self.learned.lock().clone();
        let slot = self.map(memory, ProtFlags::READ)?;
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
    /// undoes every write, for one system call plus a fault for each page that is written later.
    pub(super) fn show_writable(&self, memory: &MemoryHandle) -> Result<(), ImageError> {
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
        self.map(memory, ProtFlags::READ | ProtFlags::WRITE)?;
        Ok(())
    }

    /// Maps the image privately over a memory of the same size.
    fn map<'m>(
        &self,
        memory: &'m MemoryHandle,
        protection: ProtFlags,
    ) -> Result<&'m MemorySlot, ImageError> {
        let slot = memory.slot().ok_or(ImageError::Size)?;
        if slot.size() != self.len() {
            return Err(ImageError::Size);
        }
        if self.len() == 0 {
            return Ok(slot);
        }
        // SAFETY: the range is exactly the memory, whose owner has lent it to us exclusively; its
        // contents are replaced, nothing else.
        unsafe {
            mmap(
                ptr::with_exposed_provenance_mut(memory.start()),
                self.len(),
                protection,
                MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                self.range.file(),
                self.range.offset_bytes(),
            )
        }
        .map_err(io::Error::from)?;
        Ok(slot)
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
            let snapshot = self.contents.get(offset..offset + HOST_PAGE);
            // SAFETY: the page is one of the memory's, writable since it was recorded, and its
            // owner has lent the memory to us exclusively; image and memory are two mappings.
            unsafe {
                ptr::copy_nonoverlapping(
                    snapshot.unwrap_or(&ZEROS).as_ptr(),
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

#[cfg(test)]
mod tests {
    use super::{HOST_PAGE, Image};

    #[test]
    fn an_image_is_a_copy_with_holes() {
        let mut memory = vec![0; 16 * HOST_PAGE];
        memory[5 * HOST_PAGE] = 7;
        let image = Image::capture(&memory).expect("a memory file can be made");
        memory[5 * HOST_PAGE] = 8;
        assert_eq!(image.contents()[5 * HOST_PAGE], 7);
        assert_eq!(image.len(), 16 * HOST_PAGE);
        assert_eq!(image.wasm_pages(), 1);
    }
}
