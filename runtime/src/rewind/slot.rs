//! The fault handler's record of one memory: a fixed set of atomics.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::runs::Runs;
use super::{HOST_PAGE, PAGES_MAX};

/// Pages of growth that are made writable together when a memory grows: two of WebAssembly's.
///
/// An allocator that grows writes a few of them, at the start and the end. To find them afterwards by
/// their contents takes some ten nanoseconds a page; a fault takes microseconds once, and each run of
/// recorded pages takes a system call in every call that grows.
const UNRECORDED_PAGES: usize = 32;

/// The fault handler's record of one memory.
///
/// The thread that runs the instance and the handler on that same thread are the only ones that
/// touch a slot while it is armed; the atomics are for the compiler and for later owners.
#[derive(Debug)]
pub(super) struct MemorySlot {
    /// True while a memory has the slot.
    taken: AtomicBool,
    /// Bytes from the slot's start that the memory has, as the guest sees it.
    size: AtomicUsize,
    /// Largest `size` of the memory so far: what lies below may have been written.
    reach: AtomicUsize,
    /// True while pages are write-protected and writes are recorded.
    armed: AtomicBool,
    /// True if more pages were written than can be recorded; then all are writable.
    overflowed: AtomicBool,
    /// Number of recorded `pages`.
    count: AtomicUsize,
    /// Numbers of the writable pages, in the order in which they were recorded.
    pages: [AtomicU32; PAGES_MAX],
    /// Number of mappings that the writable pages are assumed to take.
    mappings: AtomicUsize,
    /// Size of the memory when it was armed, in bytes: what lies behind is growth.
    pristine: AtomicUsize,
    /// True if mappings are claimed for growth.
    grew: AtomicBool,
    /// True if mappings are claimed for the parts of an image.
    imaged: AtomicBool,
    /// Bytes from the slot's start into which an image is mapped, writable.
    shown: AtomicUsize,
    /// Increases whenever the slot gets another memory.
    generation: AtomicU32,
}

/// Number of mappings that the writable pages of all memories are assumed to take.
static MAPPINGS: AtomicUsize = AtomicUsize::new(0);

/// Upper bound of `MAPPINGS`; see [`limit_mappings`].
static MAPPINGS_MAX: AtomicUsize = AtomicUsize::new(16 << 10);

/// Mappings that one run of writable pages costs: its own, and the protected one behind it.
const MAPPINGS_PER_RUN: usize = 2;

/// Limits the mappings that writable pages may take in this process, all memories together.
pub(super) fn limit_mappings(mappings_max: usize) {
    MAPPINGS_MAX.store(mappings_max, Ordering::Relaxed);
}

/// Reserves `count` of the process's mappings. Returns false if there are not that many.
fn claim_mappings(count: usize) -> bool {
    let max = MAPPINGS_MAX.load(Ordering::Relaxed);
    MAPPINGS
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(count).filter(|&sum| sum <= max)
        })
        .is_ok()
}

/// Action of the fault handler for an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// Make this page writable.
    Page(u32),
    /// Make this number of bytes from the start writable: there are too many pages.
    Everything(usize),
    /// The fault does not concern a protected page.
    NotOurs,
}

impl MemorySlot {
    /// Begins the use of the slot by a memory of no size.
    pub(super) fn take(&self) {
        self.taken.store(true, Ordering::Release);
    }

    /// Returns true while a memory has the slot.
    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// Returns the size of the memory, in bytes.
    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Acquire)
    }

    /// Sets the size of the memory to `bytes`.
    pub(super) fn set_size(&self, bytes: usize) {
        self.size.store(bytes, Ordering::Release);
        self.reach.fetch_max(bytes, Ordering::AcqRel);
    }

    /// Returns the largest size that the memory ever had, in bytes.
    pub(super) fn reach(&self) -> usize {
        self.reach.load(Ordering::Acquire)
    }

    /// Returns the bytes from the start into which an image is mapped, writable; also while no memory has the
    /// slot.
    pub(super) fn shown(&self) -> usize {
        self.shown.load(Ordering::Acquire)
    }

    /// Notes that an image is mapped into the whole memory, writable.
    pub(super) fn set_shown(&self) {
        self.shown.store(self.size(), Ordering::Release);
    }

    /// Ends the use of the slot by a memory, and keeps the image that is mapped.
    pub(super) fn park(&self) {
        self.size.store(0, Ordering::Release);
        self.reach.store(self.shown(), Ordering::Release);
        self.taken.store(false, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the generation, which changes with each memory of the slot.
    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Starts to record writes; `pages` form `runs` runs, and those within the memory are writable
    /// already. Returns false if the process has no mappings left for those.
    #[must_use]
    pub(super) fn arm(&self, pages: &[u32], runs: usize) -> bool {
        let mappings = runs * MAPPINGS_PER_RUN;
        if !claim_mappings(mappings) {
            return false;
        }
        self.mappings.fetch_add(mappings, Ordering::Relaxed);
        for (slot, page) in self.pages.iter().zip(pages) {
            slot.store(*page, Ordering::Relaxed);
        }
        self.count
            .store(pages.len().min(PAGES_MAX), Ordering::Relaxed);
        self.overflowed.store(false, Ordering::Relaxed);
        self.pristine.store(self.size(), Ordering::Relaxed);
        self.armed.store(true, Ordering::Release);
        true
    }

    /// Returns the part of the growth to `size` that is writable at once. Its pages are not recorded;
    /// who undoes the growth looks at them all.
    pub(super) fn unrecorded(&self, size: usize) -> Range<usize> {
        let pristine = self.pristine.load(Ordering::Relaxed);
        pristine..size.clamp(pristine, pristine + UNRECORDED_PAGES * HOST_PAGE)
    }

    /// Claims mappings for growth, once. Returns false if the process has none left.
    pub(super) fn claim_growth(&self) -> bool {
        self.claim_once(&self.grew, MAPPINGS_PER_RUN)
    }

    /// Returns true if mappings are claimed for growth.
    pub(super) fn has_grown(&self) -> bool {
        self.grew.load(Ordering::Relaxed)
    }

    /// Claims mappings for the parts of the memory's image, once. Returns false if the process has none left.
    pub(super) fn claim_image(&self, mappings: usize) -> bool {
        mappings == 0 || self.claim_once(&self.imaged, mappings)
    }

    fn claim_once(&self, claimed: &AtomicBool, mappings: usize) -> bool {
        if claimed.load(Ordering::Relaxed) {
            return true;
        }
        if !claim_mappings(mappings) {
            return false;
        }
        self.mappings.fetch_add(mappings, Ordering::Relaxed);
        claimed.store(true, Ordering::Relaxed);
        true
    }

    fn give_mappings_back(&self) {
        self.grew.store(false, Ordering::Relaxed);
        self.imaged.store(false, Ordering::Relaxed);
        let mappings = self.mappings.swap(0, Ordering::Relaxed);
        MAPPINGS.fetch_sub(mappings, Ordering::Relaxed);
    }

    /// Returns true if a neighbouring page is writable, so that no further mapping is needed.
    fn touches_a_run(&self, page: u32) -> bool {
        self.pages().any(|known| known.abs_diff(page) == 1)
    }

    /// Ends the use of the slot: the memory is gone.
    pub(super) fn clear(&self) {
        self.armed.store(false, Ordering::Release);
        self.give_mappings_back();
        self.size.store(0, Ordering::Release);
        self.reach.store(0, Ordering::Release);
        self.shown.store(0, Ordering::Release);
        self.count.store(0, Ordering::Relaxed);
        self.overflowed.store(false, Ordering::Relaxed);
        self.taken.store(false, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns true while writes are recorded, so that only recorded pages are writable.
    pub(super) fn records(&self) -> bool {
        self.armed.load(Ordering::Acquire) && !self.overflowed()
    }

    /// Returns true if more pages were written than can be recorded.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Acquire)
    }

    /// Returns the number of recorded pages.
    pub(super) fn learned(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Returns the recorded pages.
    pub(super) fn pages(&self) -> impl Iterator<Item = u32> + '_ {
        self.pages[..self.learned()]
            .iter()
            .map(|page| page.load(Ordering::Relaxed))
    }

    /// Returns the recorded pages from `from` to before `end`, grouped into runs.
    pub(super) fn runs(&self, from: usize, end: usize) -> Runs {
        Runs::new(
            self.pages()
                .filter(|&page| (from..end).contains(&(page as usize))),
        )
    }

    /// Handles an access that faulted at this offset. The signal handler calls it.
    pub(super) fn learn(&self, offset: usize) -> Learned {
        let size = self.size();
        if offset >= size || !self.records() {
            return Learned::NotOurs;
        }
        let page = (offset / HOST_PAGE) as u32;
        if self.pages().any(|known| known == page) {
            // The page is writable already: the fault has another cause, and recording it again
            // would fault forever.
            return Learned::NotOurs;
        }
        let count = self.learned();
        let Some(place) = self.pages.get(count) else {
            return self.give_up(size);
        };
        if !self.touches_a_run(page) {
            if !claim_mappings(MAPPINGS_PER_RUN) {
                return self.give_up(size);
            }
            self.mappings.fetch_add(MAPPINGS_PER_RUN, Ordering::Relaxed);
        }
        place.store(page, Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Release);
        Learned::Page(page)
    }

    /// Stops recording: all pages become writable. Split mappings stay split until the memory is
    /// gone, because the kernel need not join them.
    pub(super) fn give_up(&self, size: usize) -> Learned {
        self.overflowed.store(true, Ordering::Release);
        Learned::Everything(size)
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::slots;
    use super::{HOST_PAGE, Learned, PAGES_MAX};

    #[test]
    fn pages_are_learned_once_and_up_to_the_cap() {
        let slot = &slots(1)[0];
        let bytes = 2 * PAGES_MAX * HOST_PAGE;
        slot.take();
        slot.set_size(bytes);
        assert_eq!(slot.learn(0), Learned::NotOurs, "not armed yet");
        assert!(slot.arm(&[3], 1));
        assert_eq!(slot.learn(3 * HOST_PAGE + 7), Learned::NotOurs, "known");
        assert_eq!(slot.learn(bytes), Learned::NotOurs, "past the end");
        for page in 0..PAGES_MAX as u32 - 1 {
            let page = page + 4;
            let offset = page as usize * HOST_PAGE + 1;
            assert_eq!(slot.learn(offset), Learned::Page(page));
        }
        assert_eq!(slot.learned(), PAGES_MAX);
        assert_eq!(slot.learn(0), Learned::Everything(bytes));
        assert!(slot.overflowed());
        assert_eq!(slot.learn(HOST_PAGE), Learned::NotOurs, "all are writable");
        let generation = slot.generation();
        slot.clear();
        assert_ne!(slot.generation(), generation);
        assert_eq!((slot.learned(), slot.size()), (0, 0));
    }
}
