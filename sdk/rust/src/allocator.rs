//! A small allocator for guests: free lists by size class, fed from the top of memory.
//!
//! Three things make it worth having. The standard allocator takes 8 KB of code, a third of a small
//! function. It asks for a new page at its first allocation, though the linker has already left up
//! to 64 KiB free behind the data, and a call in a fresh instance would pay for that page every
//! time. And a function that allocates little touches little memory here, which is what putting an
//! instance back into its first state costs.
//!
//! Memory that is freed serves later allocations of the same class and is never given to another
//! one, so that both directions are a few instructions.
#![allow(
    unsafe_code,
    reason = "an allocator hands out raw memory; the standard trait is unsafe"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::cell::UnsafeCell;
use core::ptr::{null_mut, with_exposed_provenance_mut};

#[cfg(target_feature = "atomics")]
compile_error!("this allocator is for guests of one thread, as the ABI has them");

/// Every block's alignment, and the size of the smallest one.
const ALIGN: usize = 16;

/// Size classes a doubling: a block is at most a quarter larger than what was asked for.
const STEPS: usize = 4;

/// The power of two at which doublings start; below it, classes are [`ALIGN`] apart.
const FIRST_POWER: usize = 6;

/// Classes for everything up to the 2 GiB that a Rust value may have.
const CLASSES: usize = STEPS + (31 - FIRST_POWER) * STEPS;

const PAGE_BYTES: usize = 65_536;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(UnsafeCell::new(State {
    free: [null_mut(); CLASSES],
    top: 0,
    end: 0,
}));

struct Allocator(UnsafeCell<State>);

// SAFETY: a guest has one thread, as the `compile_error` above makes sure.
unsafe impl Sync for Allocator {}

struct State {
    /// The first free block of each class. A free block starts with the address of the next one.
    free: [*mut u8; CLASSES],
    /// Memory from here to `end` has never been handed out, and is zero. Both are 0 at first.
    top: usize,
    end: usize,
}

/// The class for `size` bytes and the size of its blocks. `size` is at most 2 GiB.
fn class_of(size: usize) -> (usize, usize) {
    if size <= 1 << FIRST_POWER {
        let block = size.max(1).next_multiple_of(ALIGN);
        return (block / ALIGN - 1, block);
    }
    let power = (size - 1).ilog2() as usize;
    let step = (1 << power) / STEPS;
    let steps = (size - (1 << power)).div_ceil(step);
    (
        STEPS + (power - FIRST_POWER) * STEPS + steps - 1,
        (1 << power) + steps * step,
    )
}

unsafe extern "C" {
    /// The linker's symbol at the end of the guest's data, where the heap may start.
    static __heap_base: u8;
}

impl State {
    /// Takes never used memory from the top, growing it where needed; null where it cannot grow.
    fn carve(&mut self, block: usize, align: usize) -> *mut u8 {
        if self.end == 0 {
            self.top = &raw const __heap_base as usize;
            self.end = wasm32::memory_size(0) * PAGE_BYTES;
        }
        if align > PAGE_BYTES {
            return null_mut();
        }
        let mut start = self.top.next_multiple_of(align);
        if start + block > self.end {
            let pages = block.div_ceil(PAGE_BYTES);
            let first = wasm32::memory_grow(0, pages);
            if first == usize::MAX {
                return null_mut();
            }
            // Where something else has grown the memory, the new pages do not follow ours.
            if first * PAGE_BYTES != self.end {
                start = first * PAGE_BYTES;
            }
            self.end = (first + pages) * PAGE_BYTES;
        }
        self.top = start + block;
        with_exposed_provenance_mut(start)
    }

    /// Gives a block, and whether it is known to be zero.
    fn take(&mut self, layout: Layout) -> (*mut u8, bool) {
        let (class, block) = class_of(layout.size());
        let first = self.free[class];
        // A block with a greater alignment than all have comes from the top, where it can be had.
        if first.is_null() || layout.align() > ALIGN {
            return (self.carve(block, layout.align().max(ALIGN)), true);
        }
        // SAFETY: a block in a free list is unused, at least `ALIGN` bytes long, aligned to that,
        // and was given the next block's address by `give`.
        self.free[class] = unsafe { first.cast::<*mut u8>().read() };
        (first, false)
    }

    /// Puts a block into the free list of its class.
    ///
    /// # Safety
    ///
    /// The block came from [`take`](Self::take) for this layout and is in use by no one.
    unsafe fn give(&mut self, block: *mut u8, layout: Layout) {
        let (class, _) = class_of(layout.size());
        // SAFETY: the block is unused, at least `ALIGN` bytes long and aligned to that.
        unsafe { block.cast::<*mut u8>().write(self.free[class]) };
        self.free[class] = block;
    }

    /// Whether a block can be made to hold `size` bytes where it is; makes it so.
    fn extend(&mut self, block: *mut u8, layout: Layout, size: usize) -> bool {
        let (_, old) = class_of(layout.size());
        let (_, new) = class_of(size);
        if new > old && block.addr() + old == self.top && block.addr() + new <= self.end {
            self.top = block.addr() + new;
            return true;
        }
        new == old
    }
}

// SAFETY: blocks are disjoint, because each is carved once from memory that only grows and then is
// either in use or in one free list; they are as long and as aligned as `class_of` and `carve` make
// them, which is at least what the layout asks for; nothing here unwinds.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: there is one thread, and nothing here calls back, so no other borrow lives.
        unsafe { &mut *self.0.get() }.take(layout).0
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let (block, zero) = unsafe { &mut *self.0.get() }.take(layout);
        if !zero {
            // SAFETY: the block has at least as many bytes as the layout.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`; the caller gives back a block of this allocator and layout.
        unsafe { (*self.0.get()).give(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let state = unsafe { &mut *self.0.get() };
        if state.extend(block, layout, size) {
            return block;
        }
        // SAFETY: the caller vouches that `size` with this alignment is a valid layout.
        let (new, _) =
            state.take(unsafe { Layout::from_size_align_unchecked(size, layout.align()) });
        if !new.is_null() {
            // SAFETY: two disjoint blocks, each at least as long as the smaller size; the old one is
            // the caller's to give back.
            unsafe {
                block.copy_to_nonoverlapping(new, layout.size().min(size));
                state.give(block, layout);
            }
        }
        new
    }
}
