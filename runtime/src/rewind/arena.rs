//! Address space for memories that can be rewound, and wasmtime's access to them.

use std::collections::HashMap;
use std::io;
use std::ptr;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::fault::Registration;
use super::parked::{MappedImage, Parked, Wanted, WeakImage, same};
use super::slot::{MemorySlot, limit_mappings};
use super::written::{PageMap, Written};
use super::{HOST_PAGE, pristine_file};
use crate::platform;

/// Address space for a number of memories, each with its guards.
///
/// One reservation holds them all, so that the fault handler finds a memory by a division. A slot
/// is inaccessible until a memory takes it, and again after the memory is dropped.
#[derive(Debug)]
pub struct Arena {
    /// First byte of the reservation.
    reservation: usize,
    /// Bytes of the reservation.
    len: usize,
    /// First byte of the first slot; a guard comes before it.
    base: usize,
    stride: usize,
    slots: Box<[MemorySlot]>,
    free: Mutex<Vec<usize>>,
    /// The images that are mapped, writable, into memories in use.
    shown: Mutex<HashMap<usize, WeakImage>>,
    parked: Mutex<Parked>,
    /// `None` if the kernel does not tell which pages were written.
    page_map: Option<PageMap>,
    registration: Option<Registration>,
}

/// Size of an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaOptions {
    /// Most memories at a time.
    pub memories_max: usize,
    /// Bytes of address space for one memory; equals the engine's `memory_reservation`.
    pub reservation_bytes: usize,
    /// Bytes of guard after it; equals the engine's `memory_guard_size`.
    pub guard_bytes: usize,
}

impl Arena {
    /// Reserves the address space. Make an engine first: wasmtime's own signal handler must be
    /// installed already.
    ///
    /// # Errors
    ///
    /// Fails if the address space or the signal handler cannot be had.
    pub fn new(options: ArenaOptions) -> io::Result<Arc<Self>> {
        let ArenaOptions {
            memories_max,
            reservation_bytes,
            guard_bytes,
        } = options;
        platform::can_rewind()?;
        let page = rustix::param::page_size();
        if page != HOST_PAGE {
            return Err(io::Error::other(format!(
                "rewinding needs pages of {HOST_PAGE} bytes, this kernel has {page}"
            )));
        }
        limit_mappings(mappings_of_the_kernel() / 4);
        pristine_file::prepare()?;
        let too_large = || io::Error::other("the arena exceeds the address space");
        let stride = reservation_bytes
            .checked_add(guard_bytes)
            .ok_or_else(too_large)?;
        let len = stride
            .checked_mul(memories_max)
            .and_then(|len| len.checked_add(guard_bytes))
            .ok_or_else(too_large)?;
        // SAFETY: a new anonymous mapping at a place of the kernel's choice.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                len,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let reservation = start.expose_provenance();
        let mut arena = Self {
            reservation,
            len,
            base: reservation + guard_bytes,
            stride,
            slots: slots(memories_max),
            free: Mutex::new((0..memories_max).rev().collect()),
            shown: Mutex::default(),
            parked: Mutex::default(),
            page_map: PageMap::open(),
            registration: None,
        };
        // SAFETY: the records are in a box of their own, which does not move and is dropped after
        // the registration (see `drop`); the reservation belongs to the arena.
        let registration = unsafe {
            Registration::new(
                arena.base,
                stride,
                arena.slots.as_mut_ptr(),
                arena.slots.len(),
            )?
        };
        arena.registration = Some(registration);
        Ok(Arc::new(arena))
    }

    /// Returns the memory that begins at `start`, if it is one of this arena's.
    pub(super) fn find(self: &Arc<Self>, start: *const u8) -> Option<MemoryHandle> {
        let offset = start.addr().checked_sub(self.base)?;
        if !offset.is_multiple_of(self.stride) {
            return None;
        }
        let index = offset / self.stride;
        let slot = self.slots.get(index)?;
        slot.is_taken().then(|| MemoryHandle {
            arena: Arc::clone(self),
            index,
            generation: slot.generation(),
        })
    }

    fn start(&self, index: usize) -> usize {
        self.base + index * self.stride
    }

    /// Takes a slot for a memory: one that maps the image that is wanted, or an empty one.
    fn take_slot(&self) -> Option<usize> {
        let wanted = Wanted::take();
        let found = wanted.and_then(|image| {
            let index = self.parked.lock().take(&image)?;
            Some((index, image))
        });
        if let Some((index, image)) = found {
            self.shown.lock().insert(index, image);
            return Some(index);
        }
        loop {
            let free = self.free.lock().pop();
            if free.is_some() {
                return free;
            }
            let parked = self.parked.lock().take_oldest();
            self.empty(parked?);
        }
    }

    /// Ends the use of a slot: its memory is gone.
    fn empty(&self, index: usize) {
        let slot = &self.slots[index];
        // More than its size, if it was larger before it was rewound.
        let used = slot.reach();
        // First remove it from the handler's records, then from the address space.
        slot.clear();
        if used > 0 && self.make_inaccessible(index, 0, used).is_err() {
            // Its contents would appear in the next memory: do not use the slot again.
            return;
        }
        self.free.lock().push(index);
    }

    /// Gives back the pages of a range of a slot that no memory uses.
    fn make_inaccessible(&self, index: usize, from: usize, to: usize) -> io::Result<()> {
        // SAFETY: the range lies within the slot, and no memory has it any more; a new inaccessible mapping takes
        // its place and gives its pages back.
        unsafe {
            mmap_anonymous(
                ptr::with_exposed_provenance_mut(self.start(index) + from),
                to - from,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED,
            )
        }?;
        Ok(())
    }

    /// Keeps a slot with the image that is mapped into it. Returns false if that cannot be done.
    fn park(&self, index: usize, image: WeakImage) -> bool {
        let Some(contents) = image.upgrade() else {
            return false;
        };
        if self.undo_writes(index, &*contents).is_err() {
            return false;
        }
        self.slots[index].park();
        let removed = self.parked.lock().add(index, image);
        removed.into_iter().for_each(|index| self.empty(index));
        true
    }

    /// Undoes all writes to a memory that maps an image, by copying the pages that the kernel says were written.
    ///
    /// # Errors
    ///
    /// The kernel does not say it, or they are so many that to map the image anew takes less time.
    fn undo_writes(&self, index: usize, image: &dyn MappedImage) -> io::Result<()> {
        let slot = &self.slots[index];
        let (start, len) = (self.start(index), slot.shown());
        let map = self.page_map.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let Written {
            ranges,
            is_complete,
        } = map.written(start..start + len)?;
        if !is_complete {
            return Err(io::ErrorKind::Other.into());
        }
        if slot.reach() > len {
            self.make_inaccessible(index, len, slot.reach())?;
        }
        for range in ranges {
            for address in range.step_by(HOST_PAGE) {
                let page = image.page(address - start);
                // SAFETY: the page lies within the memory, which is writable and which nothing uses any more;
                // image and memory are two mappings.
                unsafe {
                    ptr::copy_nonoverlapping(
                        page.as_ptr(),
                        ptr::with_exposed_provenance_mut::<u8>(address),
                        HOST_PAGE,
                    );
                }
            }
        }
        Ok(())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // The handler must stop reading the records before they go.
        self.registration = None;
        // They claim mappings.
        while let Some(index) = self.parked.get_mut().take_oldest() {
            self.slots[index].clear();
        }
        // SAFETY: every memory holds an `Arc` of the arena, so none is left, and the reservation
        // is the arena's own.
        let _ = unsafe { munmap(ptr::with_exposed_provenance_mut(self.reservation), self.len) };
    }
}

/// Creates slots without memories. They take room in memory only once they are used.
pub(super) fn slots(count: usize) -> Box<[MemorySlot]> {
    let slots = Box::<[MemorySlot]>::new_zeroed_slice(count);
    // SAFETY: a slot consists of atomic integers and booleans, for which zero is a value; all zero is
    // a slot without a memory.
    unsafe { slots.assume_init() }
}

/// Returns the number of mappings that the kernel allows a process.
fn mappings_of_the_kernel() -> usize {
    /// The kernel's own default, `DEFAULT_MAX_MAP_COUNT`.
    const DEFAULT: usize = 65_530;
    std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(DEFAULT)
}

/// Handle to a memory of the arena, for rewinding it. The memory may be gone: every use checks.
#[derive(Debug)]
pub(super) struct MemoryHandle {
    arena: Arc<Arena>,
    index: usize,
    generation: u32,
}

impl MemoryHandle {
    /// Returns the fault handler's record of the memory; `None` if the memory was dropped.
    pub(super) fn slot(&self) -> Option<&MemorySlot> {
        let slot = &self.arena.slots[self.index];
        (slot.generation() == self.generation).then_some(slot)
    }

    /// Returns the address of the memory's first byte.
    pub(super) fn start(&self) -> usize {
        self.arena.start(self.index)
    }

    /// Returns true if the image is mapped into the whole memory, and nothing was written since.
    pub(super) fn shows(&self, image: &WeakImage) -> bool {
        let is_whole = |slot: &MemorySlot| slot.shown() > 0 && slot.shown() == slot.size();
        let shown = self.arena.shown.lock();
        self.slot().is_some_and(is_whole)
            && shown
                .get(&self.index)
                .is_some_and(|other| same(image, other))
    }

    /// Notes that the image was mapped into the whole memory, writable.
    pub(super) fn note_shown(&self, image: WeakImage) {
        if let Some(slot) = self.slot() {
            slot.set_shown();
            self.arena.shown.lock().insert(self.index, image);
        }
    }
}

/// Gives wasmtime memories out of an arena.
pub struct ArenaMemories(pub Arc<Arena>);

// SAFETY: the memories are page-aligned, zero when new, never move, have the whole reservation and
// guard that wasmtime asks for (`new_memory` checks it), and belong to their instance alone until
// they are dropped. Rewinding changes contents and protection only between calls, through an
// exclusive borrow of the instance's store.
unsafe impl MemoryCreator for ArenaMemories {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let arena = &self.0;
        let reserved = reserved_size_in_bytes.unwrap_or(0);
        let needed = reserved
            .max(maximum.unwrap_or(minimum))
            .checked_add(guard_size_in_bytes);
        if needed.is_none_or(|needed| needed > arena.stride) {
            return Err(format!(
                "a memory of {reserved} bytes with a guard of {guard_size_in_bytes} does not fit into a slot"
            ));
        }
        let Some(index) = arena.take_slot() else {
            return Err(format!(
                "all {} rewindable memories are in use",
                arena.slots.len()
            ));
        };
        arena.slots[index].take();
        let mut memory = ArenaMemory {
            arena: Arc::clone(arena),
            index,
            capacity: reserved.max(minimum),
        };
        memory.grow_to(minimum).map_err(|error| error.to_string())?;
        Ok(Box::new(memory))
    }
}

/// One memory, for wasmtime.
struct ArenaMemory {
    arena: Arc<Arena>,
    index: usize,
    capacity: usize,
}

impl ArenaMemory {
    fn slot(&self) -> &MemorySlot {
        &self.arena.slots[self.index]
    }

    /// Makes `len` bytes from the offset `from` on accessible; they are within the capacity.
    fn allow(&self, from: usize, len: usize) -> io::Result<()> {
        let start = self.arena.start(self.index) + from;
        // SAFETY: the range lies within this memory's slot, which is its own. It gets the access
        // that the guest has to a memory of the size that it grows to.
        unsafe {
            mprotect(
                ptr::with_exposed_provenance_mut(start),
                len,
                MprotectFlags::READ | MprotectFlags::WRITE,
            )
        }?;
        Ok(())
    }
}

impl ArenaMemory {
    /// Gives a range of the memory a mapping of its own, as it differs from its neighbours from here on: a later
    /// change of its protection need not divide a mapping, nor join two, which is half of what that costs. Most calls
    /// of a module grow by as much.
    fn set_apart(&self, from: usize, len: usize) {
        let start = self.arena.start(self.index) + from;
        // SAFETY: the range lies within this memory's slot, which is its own. This changes neither its contents
        // nor the access to it, only that it is left out of core dumps.
        let marked = unsafe {
            madvise(
                ptr::with_exposed_provenance_mut(start),
                len,
                platform::NOT_DUMPED,
            )
        };
        // Without the mark, growth takes longer.
        let _ = marked;
    }
}

// SAFETY: see `ArenaMemories`; the memory's addresses are those of its slot, which is its own.
unsafe impl LinearMemory for ArenaMemory {
    fn byte_size(&self) -> usize {
        self.slot().size()
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        let slot = self.slot();
        let now = slot.size();
        if new_size > self.capacity {
            return Err(wasmtime::Error::msg(format!(
                "a memory of {} bytes cannot grow to {new_size}",
                self.capacity
            )));
        }
        if new_size <= now {
            return Ok(());
        }
        let is_first = !slot.has_grown();
        if slot.records() && slot.claim_growth() {
            // Pages that are not recorded stay inaccessible until they are touched.
            let unrecorded = slot.unrecorded(new_size);
            let start = now.max(unrecorded.start);
            if start < unrecorded.end {
                if is_first {
                    self.set_apart(start, unrecorded.end - start);
                }
                self.allow(start, unrecorded.end - start)?;
            }
            for run in slot.runs(now.max(unrecorded.end) / HOST_PAGE, new_size / HOST_PAGE) {
                self.allow(run.start(), run.len())?;
            }
        } else {
            if slot.records() {
                let _ = slot.give_up(now);
                self.allow(0, now)?;
            }
            let accessible = slot.shown().max(now);
            if accessible < new_size {
                self.allow(accessible, new_size - accessible)?;
            }
        }
        slot.set_size(new_size);
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.arena.start(self.index))
    }
}

impl Drop for ArenaMemory {
    fn drop(&mut self) {
        let image = self.arena.shown.lock().remove(&self.index);
        if !image.is_some_and(|image| self.arena.park(self.index, image)) {
            self.arena.empty(self.index);
        }
    }
}
