//! A small allocator for guests: free lists by size class, fed from the top of memory.
//!
//! It replaces the standard allocator for three reasons. The standard allocator takes 8 KB of code,
//! a third of a small function. It asks for a new page at its first allocation, although the linker
//! leaves up to 64 KiB free behind the data; a call in a fresh instance would pay for that page
//! every time. And with this allocator a function that allocates little touches little memory,
//! which makes it cheap to restore an instance to its first state.
//!
//! Freed memory serves later allocations of the same class and never moves to another class, so
//! that allocating and freeing take a few instructions each.
#![allow(
    unsafe_code,
    reason = "an allocator hands out raw memory; the standard trait is unsafe"
)]

use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr::{null_mut, with_exposed_provenance_mut};

/// Every block's alignment, and the size of the smallest one.
const ALIGN: usize = 16;

/// Size classes a doubling: a block is at most a quarter larger than what was asked for.
const STEPS: usize = 4;

/// The power of two at which doublings start; below it, classes are [`ALIGN`] apart.
const FIRST_POWER: usize = 6;

/// Classes for everything up to the 2 GiB that a Rust value may have.
const CLASSES: usize = STEPS + (31 - FIRST_POWER) * STEPS;

const PAGE_BYTES: usize = 65_536;

/// Returns the class for `size` bytes, which are at most 2 GiB, and the size of its blocks.
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

/// The source of blocks: a guest's linear memory, or a piece of the host's memory in tests.
trait Memory {
    /// Returns the start and end addresses of the bytes that are unused at first.
    fn first() -> (usize, usize);

    /// Adds pages of zeros and returns the address of the first; `None` if there are no more.
    fn grow(pages: usize) -> Option<usize>;
}

/// The lists of free blocks, and the memory that has never been one.
struct State<M> {
    /// The first free block of each class. A free block starts with the address of the next one.
    free: [*mut u8; CLASSES],
    /// Memory from here to `end` has never been handed out, and is zero. Both are 0 at first.
    top: usize,
    end: usize,
    memory: PhantomData<M>,
}

impl<M: Memory> State<M> {
    const fn new() -> Self {
        Self {
            free: [null_mut(); CLASSES],
            top: 0,
            end: 0,
            memory: PhantomData,
        }
    }

    /// Takes never used memory from the top, and grows the memory if needed; null if it cannot
    /// grow.
    fn carve(&mut self, block: usize, align: usize) -> *mut u8 {
        if self.end == 0 {
            (self.top, self.end) = M::first();
        }
        // Pages are aligned to their size, and no layout asks for a larger alignment.
        if align > PAGE_BYTES {
            return null_mut();
        }
        let mut start = self.top.next_multiple_of(align);
        if start + block > self.end {
            let pages = block.div_ceil(PAGE_BYTES);
            let Some(first) = M::grow(pages) else {
                return null_mut();
            };
            // If other code has grown the memory, the new pages do not follow ours.
            if first != self.end {
                start = first;
            }
            self.end = first + pages * PAGE_BYTES;
        }
        self.top = start + block;
        with_exposed_provenance_mut(start)
    }

    /// Returns a block, and true if it is known to be zero.
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

    /// Makes a block hold `size` bytes, in its place or in a new one; null if there is no room.
    ///
    /// # Safety
    ///
    /// The block came from [`take`](Self::take) for this layout, and `size` is one that a layout of
    /// this alignment may have.
    unsafe fn resize(&mut self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (_, old) = class_of(layout.size());
        let (_, new) = class_of(size);
        if new == old {
            return block;
        }
        // The block that was carved last, such as a growing vector, is extended in place.
        let end = block.addr() + new;
        if new > old && block.addr() + old == self.top && end <= self.end {
            self.top = end;
            return block;
        }
        // SAFETY: the caller vouches for the size.
        let (moved, _) =
            self.take(unsafe { Layout::from_size_align_unchecked(size, layout.align()) });
        if !moved.is_null() {
            // SAFETY: two disjoint blocks, each at least as long as the smaller size; the old one
            // is the caller's to give back.
            unsafe {
                block.copy_to_nonoverlapping(moved, layout.size().min(size));
                self.give(block, layout);
            }
        }
        moved
    }
}

/// The guest's allocator.
#[cfg(target_family = "wasm")]
mod global {
    use core::alloc::{GlobalAlloc, Layout};
    use core::arch::wasm32;
    use core::cell::UnsafeCell;

    use super::{Memory, PAGE_BYTES, State};

    #[cfg(target_feature = "atomics")]
    compile_error!("this allocator is for guests of one thread, as the ABI has them");

    #[global_allocator]
    static ALLOCATOR: Allocator = Allocator(UnsafeCell::new(State::new()));

    struct Allocator(UnsafeCell<State<Linear>>);

    // SAFETY: a guest has one thread, as the `compile_error` above makes sure.
    unsafe impl Sync for Allocator {}

    /// The linear memory, from the end of the guest's data on.
    struct Linear;

    unsafe extern "C" {
        /// The linker's symbol at the end of the guest's data, where the heap may start.
        static __heap_base: u8;
    }

    impl Memory for Linear {
        fn first() -> (usize, usize) {
            let start = &raw const __heap_base;
            (start as usize, wasm32::memory_size(0) * PAGE_BYTES)
        }

        fn grow(pages: usize) -> Option<usize> {
            let first = wasm32::memory_grow(0, pages);
            (first != usize::MAX).then_some(first * PAGE_BYTES)
        }
    }

    // SAFETY: blocks are disjoint, because each is carved once from memory that only grows and then
    // is either in use or in one free list; they are as long and as aligned as `class_of` and
    // `carve` make them, which is at least what the layout asks for; nothing here unwinds.
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
            // SAFETY: as in `alloc`; the caller vouches for the block, its layout and the size.
            unsafe { (*self.0.get()).resize(block, layout, size) }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::alloc::Layout;
    use core::cell::Cell;
    use std::alloc::{alloc_zeroed, dealloc};
    use std::vec::Vec;

    use super::{ALIGN, CLASSES, Memory, PAGE_BYTES, State, class_of};

    /// Pages that a test has, the first of them half used.
    const PAGES: usize = 64;

    std::thread_local! {
        /// Start of this test's pages, and number of pages given so far.
        static ARENA: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }

    struct Arena;

    impl Memory for Arena {
        fn first() -> (usize, usize) {
            let (start, _) = ARENA.get();
            ARENA.set((start, 1));
            (start + PAGE_BYTES / 2, start + PAGE_BYTES)
        }

        fn grow(pages: usize) -> Option<usize> {
            let (start, given) = ARENA.get();
            (given + pages <= PAGES).then(|| {
                ARENA.set((start, given + pages));
                start + given * PAGE_BYTES
            })
        }
    }

    fn with_arena(test: impl FnOnce(&mut State<Arena>)) {
        let layout = Layout::from_size_align(PAGES * PAGE_BYTES, PAGE_BYTES).expect("it is valid");
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        ARENA.set((start.expose_provenance(), 0));
        test(&mut State::new());
        // SAFETY: it came from `alloc_zeroed` with this layout, and no block of it is in use.
        unsafe { dealloc(start, layout) };
    }

    /// A block that a test holds, filled with a byte of its own.
    struct Held {
        block: *mut u8,
        layout: Layout,
        fill: u8,
    }

    impl Held {
        fn fill(&self) {
            // SAFETY: the test holds the block, which has the layout's size.
            unsafe { self.block.write_bytes(self.fill, self.layout.size()) };
        }

        fn is_intact(&self, len: usize) -> bool {
            // SAFETY: as in `fill`; `len` is at most the layout's size.
            let bytes = unsafe { core::slice::from_raw_parts(self.block, len) };
            bytes.iter().all(|&byte| byte == self.fill)
        }
    }

    #[test]
    fn classes_grow_by_a_quarter_at_most_and_cover_every_size() {
        let mut last = (0, 0);
        for size in (0..5000).chain((12..31).flat_map(|power| {
            let power = 1_usize << power;
            [
                power - 1,
                power,
                power + 1,
                power + power / 4,
                power + power / 4 + 1,
            ]
        })) {
            let (class, block) = class_of(size);
            assert!(block >= size && block % ALIGN == 0, "{size}");
            assert!(size <= 64 || block - size < size / 4, "{size} gets {block}");
            assert!(class < CLASSES, "{size}");
            // A class has one size of block, and a greater one than the class before.
            assert_eq!(class == last.0, block == last.1 || last == (0, 0), "{size}");
            assert!(class >= last.0 || size < 5000, "{size}");
            last = (class, block);
        }
    }

    #[test]
    fn blocks_never_overlap_whatever_comes_and_goes() {
        with_arena(|state| {
            let mut held: Vec<Held> = Vec::new();
            // Marsaglia's xorshift64, from a fixed seed.
            let mut random = 0x2545_f491_4f6c_dd1d_u64;
            let mut next = |below: usize| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random % below as u64) as usize
            };
            for round in 0..20_000_u32 {
                let power = 1 + next(12);
                let size = 1 + next(1 << power);
                match next(3) {
                    0 if held.len() < 200 => {
                        let align = 1 << next(9);
                        let layout = Layout::from_size_align(size, align).expect("it is valid");
                        let (block, zero) = state.take(layout);
                        if block.is_null() {
                            continue;
                        }
                        assert!(block.addr().is_multiple_of(align));
                        let taken = Held {
                            block,
                            layout,
                            fill: 0,
                        };
                        assert!(
                            !zero || taken.is_intact(size),
                            "memory from the top is zero"
                        );
                        let taken = Held {
                            fill: round as u8,
                            ..taken
                        };
                        taken.fill();
                        held.push(taken);
                    }
                    1 if !held.is_empty() => {
                        let given = held.swap_remove(next(held.len()));
                        assert!(given.is_intact(given.layout.size()));
                        // SAFETY: the block was taken with this layout, and is held no longer.
                        unsafe { state.give(given.block, given.layout) };
                    }
                    _ if !held.is_empty() => {
                        let at = next(held.len());
                        let resized = &mut held[at];
                        // SAFETY: the block was taken with this layout; the size is a small one.
                        let block = unsafe { state.resize(resized.block, resized.layout, size) };
                        if block.is_null() {
                            continue;
                        }
                        let kept = resized.layout.size().min(size);
                        let align = resized.layout.align();
                        assert!(block.addr().is_multiple_of(align));
                        resized.block = block;
                        resized.layout = Layout::from_size_align(size, align).expect("it is valid");
                        assert!(resized.is_intact(kept));
                        resized.fill();
                    }
                    _ => {}
                }
            }
            assert!(held.iter().all(|it| it.is_intact(it.layout.size())));
        });
    }

    #[test]
    fn memory_that_is_used_up_gives_null_and_freed_blocks_serve_again() {
        with_arena(|state| {
            let page = Layout::from_size_align(PAGE_BYTES, 1).expect("it is valid");
            let mut blocks = Vec::new();
            loop {
                let (block, _) = state.take(page);
                if block.is_null() {
                    break;
                }
                blocks.push(block);
            }
            assert_eq!(
                blocks.len(),
                PAGES - 1,
                "half a page is too little for one more"
            );
            // SAFETY: the block was taken with this layout, and nobody uses it.
            unsafe { state.give(blocks[7], page) };
            assert_eq!(state.take(page), (blocks[7], false));
        });
    }
}
