//! The pristine contents of a module's memory, and the pages that its calls write.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::ptr;

use memmap2::Mmap;
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect};

use super::arena::MemoryHandle;
use super::slot::{MemorySlot, PAGES_MAX};
use super::touched::touched;
use super::{HOST_PAGE, WASM_PAGE};

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
    file: File,
    contents: Mmap,
    /// Pages written by calls of any instance, sorted; at most `PAGES_MAX`.
    learned: Mutex<Vec<u32>>,
}

impl Image {
    /// Copies `memory`, which must belong to an instance: private, and a multiple of WebAssembly's
    /// page size.
    pub(super) fn capture(memory: &[u8]) -> io::Result<Self> {
        let descriptor = memfd_create(
            "ferrite-pristine",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?;
        ftruncate(&descriptor, memory.len() as u64)?;
        let file = File::from(descriptor);
        // Pages of zeros stay holes, which take no memory.
        for index in touched(memory) {
            let start = index * HOST_PAGE;
            let page = &memory[start..memory.len().min(start + HOST_PAGE)];
            if page != &ZEROS[..page.len()] {
                file.write_all_at(page, start as u64)?;
            }
        }
        fcntl_add_seals(
            &file,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )?;
        // SAFETY: the file is sealed, so the mapping never changes.
        let contents = unsafe { Mmap::map(&file)? };
        Ok(Self {
            file,
            contents,
            learned: Mutex::new(Vec::new()),
        })
    }

    /// Returns the size of the image, in bytes.
    pub(super) fn len(&self) -> usize {
        self.contents.len()
    }

    /// Returns the size of the image, in pages of WebAssembly.
    pub(super) fn wasm_pages(&self) -> u64 {
        self.len() as u64 / WASM_PAGE
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
        let runs = runs(&pages);
        let slot = self.map(memory, ProtFlags::READ)?;
        for run in &runs {
            // SAFETY: learned pages lie within the image's length, which is the memory's.
            unsafe {
                mprotect(
                    ptr::with_exposed_provenance_mut(
                        memory.start() + run.first as usize * HOST_PAGE,
                    ),
                    run.count * HOST_PAGE,
                    MprotectFlags::READ | MprotectFlags::WRITE,
                )
            }
            .map_err(io::Error::from)?;
        }
        Ok(slot.arm(&pages, runs.len()))
    }

    /// Maps the image over a memory, all of it writable, without recording writes. Repeating it
    /// undoes every write, for one system call plus a fault for each page that is written later.
    pub(super) fn show_writable(&self, memory: &MemoryHandle) -> Result<(), ImageError> {
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
        if slot.accessible() != self.len() {
            return Err(ImageError::Size);
        }
        // SAFETY: the range is exactly the memory's accessible part, whose owner has lent it to
        // us exclusively; its contents are replaced, nothing else.
        unsafe {
            mmap(
                ptr::with_exposed_provenance_mut(memory.start()),
                self.len(),
                protection,
                MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                &self.file,
                0,
            )
        }
        .map_err(io::Error::from)?;
        Ok(slot)
    }

    /// Copies the written pages back from the image.
    pub(super) fn restore(&self, memory: &MemoryHandle, slot: &MemorySlot) {
        let start = memory.start();
        for page in slot.pages() {
            let offset = page as usize * HOST_PAGE;
            let Some(snapshot) = self.contents.get(offset..offset + HOST_PAGE) else {
                continue;
            };
            // SAFETY: the page is one of the memory's, writable since it was learned, and its
            // owner has lent the memory to us exclusively; image and memory are two mappings.
            unsafe {
                ptr::copy_nonoverlapping(
                    snapshot.as_ptr(),
                    ptr::with_exposed_provenance_mut::<u8>(start + offset),
                    HOST_PAGE,
                );
            }
        }
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

    /// Returns the number of pages that are writable from the start in new instances.
    pub(super) fn learned(&self) -> usize {
        self.learned.lock().len()
    }
}

/// A run of neighbouring pages.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    first: u32,
    count: usize,
}

/// Groups sorted pages into runs of neighbours, so that one system call serves a run.
fn runs(pages: &[u32]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &page in pages {
        match runs.last_mut() {
            Some(run) if run.first + run.count as u32 == page => run.count += 1,
            _ => runs.push(Run {
                first: page,
                count: 1,
            }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::{HOST_PAGE, Image, Run, runs};

    #[test]
    fn neighbours_form_runs() {
        assert_eq!(runs(&[]), []);
        assert_eq!(
            runs(&[1, 2, 3, 7, 9, 10]),
            [
                Run { first: 1, count: 3 },
                Run { first: 7, count: 1 },
                Run { first: 9, count: 2 },
            ]
        );
    }

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
