//! Images in memories of an arena.

use std::io::Write as _;
use std::sync::Arc;

use ferrite_cache::ImageRun;
use wasmtime::{LinearMemory, MemoryCreator as _, MemoryType};

use super::HOST_PAGE;
use super::arena::{Arena, ArenaMemories, ArenaOptions};
use super::image::Image;
use super::parked::{MappedImage, Wanted, WeakImage};
use super::slot::limit_mappings;
use super::written::PageMap;

#[test]
fn a_stored_image_holds_its_runs_and_zeros_around_them() {
    let mut file = tempfile::tempfile().expect("a temporary file");
    for page in [9, 1, 2, 3] {
        file.write_all(&[page; HOST_PAGE]).expect("there is room");
    }
    let runs = [
        ImageRun { first: 2, pages: 1 },
        ImageRun { first: 7, pages: 2 },
    ];
    let image = Image::stored(file, HOST_PAGE as u64, &runs, 16 * HOST_PAGE);
    let image = image.expect("it is long enough");
    let firsts: Vec<u8> = (0..16)
        .map(|page| image.page(page * HOST_PAGE)[0])
        .collect();
    assert_eq!(firsts, [0, 0, 1, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0]);
    let mut memory = vec![0; 16 * HOST_PAGE];
    for (start, contents) in image.parts() {
        memory[start..start + contents.len()].copy_from_slice(contents);
    }
    assert_eq!(image.difference(&memory), None);
    memory[15 * HOST_PAGE + 3] = 1;
    assert_eq!(image.difference(&memory), Some((15 * HOST_PAGE + 3, 0)));
    assert_eq!(image.mappings(), 4);
}

#[test]
fn where_no_mappings_are_left_an_image_is_copied() {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&[7; 2 * HOST_PAGE]).expect("there is room");
    let runs = [
        ImageRun { first: 1, pages: 1 },
        ImageRun { first: 9, pages: 1 },
    ];
    let image = Image::stored(file, 0, &runs, 1 << 16).expect("it is long enough");
    let arena = Arena::new(ArenaOptions {
        memories_max: 1,
        reservation_bytes: 4 << 30,
        guard_bytes: 1 << 20,
    })
    .expect("there is address space");
    let memory = ArenaMemories(Arc::clone(&arena))
        .new_memory(
            MemoryType::new(1, None),
            1 << 16,
            None,
            Some(4 << 30),
            1 << 20,
        )
        .expect("the arena has room");
    let handle = arena.find(memory.as_ptr()).expect("it is the arena's");
    // SAFETY: the memory has this size and is readable; nobody writes to it meanwhile.
    let contents = || unsafe { std::slice::from_raw_parts(memory.as_ptr(), 1 << 16) };
    limit_mappings(3);
    assert!(!image.show(&handle).expect("it has the size"));
    for _ in 0..2 {
        // What is written is undone all the same.
        assert!(!image.show_writable(&handle).expect("it has the size"));
        assert_eq!(image.difference(contents()), None);
        for offset in [0, HOST_PAGE, 5 * HOST_PAGE] {
            // SAFETY: these bytes are the memory's, which is writable and belongs to this test.
            unsafe { memory.as_ptr().add(offset).write(9) };
        }
        assert!(image.difference(contents()).is_some());
    }
    limit_mappings(4);
    assert!(image.show_writable(&handle).expect("it has the size"));
    assert_eq!(image.difference(contents()), None);
    let slot = handle.slot().expect("the memory is there");
    assert!(!slot.claim_growth(), "all are taken");
    drop(memory);
    assert!(handle.slot().is_none());
    limit_mappings(16 << 10);
}

#[test]
fn an_image_is_a_copy_with_holes() {
    let mut memory = vec![0; 16 * HOST_PAGE];
    memory[5 * HOST_PAGE] = 7;
    let image = Image::capture(&memory).expect("a memory file can be made");
    memory[5 * HOST_PAGE] = 8;
    assert_eq!(image.page(5 * HOST_PAGE)[0], 7);
    assert_eq!(image.difference(&memory), Some((5 * HOST_PAGE, 7)));
    assert_eq!(image.len(), 16 * HOST_PAGE);
    assert_eq!(image.mappings(), 0);
    assert_eq!(image.wasm_pages(), 1);
}

/// An image of eight pages: 7 and 8 in the second and third, zeros in the others.
#[derive(Debug)]
struct Kept(Image);

impl MappedImage for Kept {
    fn page(&self, offset: usize) -> &[u8] {
        self.0.page(offset)
    }
}

impl Kept {
    fn new() -> Arc<Self> {
        let mut file = tempfile::tempfile().expect("a temporary file");
        for page in [7, 8] {
            file.write_all(&[page; HOST_PAGE]).expect("there is room");
        }
        let runs = [ImageRun { first: 1, pages: 2 }];
        let image = Image::stored(file, 0, &runs, 8 * HOST_PAGE);
        Arc::new(Self(image.expect("it is long enough")))
    }

    fn weak(self: &Arc<Self>) -> WeakImage {
        Arc::<Self>::downgrade(self)
    }
}

fn new_memory(arena: &Arc<Arena>) -> Box<dyn LinearMemory> {
    ArenaMemories(Arc::clone(arena))
        .new_memory(MemoryType::new(0, None), 0, None, Some(4 << 30), 1 << 20)
        .expect("the arena has room")
}

#[test]
fn a_memory_keeps_its_image_for_the_next_that_wants_it() {
    let arena = Arena::new(ArenaOptions {
        memories_max: 2,
        reservation_bytes: 4 << 30,
        guard_bytes: 1 << 20,
    })
    .expect("there is address space");
    if PageMap::open().is_none() {
        return;
    }
    let (image, other) = (Kept::new(), Kept::new());
    let len = 8 * HOST_PAGE;
    let mut memory = new_memory(&arena);
    memory.grow_to(len).expect("it fits");
    let handle = arena.find(memory.as_ptr()).expect("it is the arena's");
    assert!(image.0.show_writable(&handle).expect("it has the size"));
    assert!(!handle.shows(&image.weak()));
    handle.note_shown(image.weak());
    let place = memory.as_ptr();
    for _ in 0..3 {
        let handle = arena.find(memory.as_ptr()).expect("it is the arena's");
        assert!(handle.shows(&image.weak()));
        assert!(!handle.shows(&other.weak()));
        // SAFETY: the memory has this size, and nobody else uses it.
        let contents = unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), len) };
        assert_eq!(image.0.difference(contents), None, "as new");
        contents[5] = 1;
        contents[HOST_PAGE] = 2;
        contents[len - 1] = 3;
        memory.grow_to(2 * len).expect("it fits");
        // SAFETY: the memory has this size now.
        unsafe { memory.as_ptr().add(len).write(4) };
        drop(memory);
        // A memory of another image, and one of none, are others.
        let wanted = Wanted::new(&other);
        let mut another = new_memory(&arena);
        drop(wanted);
        assert_ne!(another.as_ptr(), place);
        another.grow_to(2 * len).expect("it fits");
        // SAFETY: the memory has this size, and nobody else uses it.
        let zeros = unsafe { std::slice::from_raw_parts(another.as_ptr(), 2 * len) };
        assert!(zeros.iter().all(|&byte| byte == 0));
        let wanted = Wanted::new(&image);
        memory = new_memory(&arena);
        drop(wanted);
        assert_eq!(memory.as_ptr(), place);
        assert_eq!(memory.byte_size(), 0, "until it grows");
        memory.grow_to(len).expect("it fits");
    }
    // Where there is no other slot, what was kept gives way.
    drop(memory);
    let others = [new_memory(&arena), new_memory(&arena)];
    for mut memory in others {
        memory.grow_to(len).expect("it fits");
        // SAFETY: the memory has this size, and nobody else uses it.
        let zeros = unsafe { std::slice::from_raw_parts(memory.as_ptr(), len) };
        assert!(zeros.iter().all(|&byte| byte == 0));
    }
}
