//! Memories that keep the image which is mapped into them, for the next instance that starts from it.
//!
//! To map an image takes several system calls, and a fault for each page that is then used. A memory whose writes
//! have been undone is as good as one that is mapped anew, and takes neither.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::{Arc, Weak};

/// Most memories of an arena that are kept in this way. Each holds its mappings and the pages that it wrote.
const PARKED_MAX: usize = 32;

/// An image that is mapped into memories.
pub(super) trait MappedImage: Debug + Send + Sync {
    /// Returns the page at an offset in the memory.
    fn page(&self, offset: usize) -> &[u8];
}

/// An image, which may be gone.
pub(super) type WeakImage = Weak<dyn MappedImage>;

/// The parked memories of an arena, by the numbers of their slots, oldest first.
#[derive(Debug, Default)]
pub(super) struct Parked(Vec<(usize, WeakImage)>);

impl Parked {
    /// Adds a memory. Returns others to be emptied: those whose images are gone, and the oldest if there are too
    /// many.
    pub(super) fn add(&mut self, slot: usize, image: WeakImage) -> Vec<usize> {
        self.0.push((slot, image));
        let gone = |(_, image): &mut (usize, WeakImage)| image.strong_count() == 0;
        let mut removed: Vec<usize> = self.0.extract_if(.., gone).map(|(slot, _)| slot).collect();
        if self.0.len() > PARKED_MAX {
            removed.extend(self.take_oldest());
        }
        removed
    }

    /// Takes the memory that was added last for an image.
    pub(super) fn take(&mut self, image: &WeakImage) -> Option<usize> {
        let at = self.0.iter().rposition(|(_, other)| same(image, other))?;
        Some(self.0.remove(at).0)
    }

    /// Takes the memory that was added first.
    pub(super) fn take_oldest(&mut self) -> Option<usize> {
        (!self.0.is_empty()).then(|| self.0.remove(0).0)
    }
}

/// Returns true if both are the same image.
pub(super) fn same(one: &WeakImage, other: &WeakImage) -> bool {
    std::ptr::addr_eq(one.as_ptr(), other.as_ptr())
}

thread_local! {
    /// The image that this thread's next memory is for.
    ///
    /// wasmtime asks for a memory while it makes an instance, and has no way to say which it is for.
    static WANTED: RefCell<Option<WeakImage>> = const { RefCell::new(None) };
}

/// Says that memories which this thread makes are for an image, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Wanted(());

impl Wanted {
    /// Begins to say so.
    pub(super) fn new<I: MappedImage + 'static>(image: &Arc<I>) -> Self {
        let image: WeakImage = Arc::<I>::downgrade(image);
        WANTED.set(Some(image));
        Self(())
    }

    /// Returns the image that this thread's memory is for. Only the first one gets it.
    pub(super) fn take() -> Option<WeakImage> {
        WANTED.take()
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        WANTED.set(None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Weak};

    use super::{MappedImage, PARKED_MAX, Parked, Wanted, WeakImage, same};

    #[derive(Debug)]
    struct Nothing;

    impl MappedImage for Nothing {
        fn page(&self, _: usize) -> &[u8] {
            &[]
        }
    }

    fn weak(image: &Arc<Nothing>) -> WeakImage {
        Arc::<Nothing>::downgrade(image) as Weak<dyn MappedImage>
    }

    #[test]
    fn each_image_gets_its_own_memories_and_the_oldest_give_way() {
        let images: Vec<Arc<Nothing>> = (0..3).map(|_| Arc::new(Nothing)).collect();
        let mut parked = Parked::default();
        for (slot, image) in images.iter().enumerate() {
            assert!(parked.add(slot, weak(image)).is_empty());
        }
        assert_eq!(parked.take(&weak(&images[1])), Some(1));
        assert_eq!(parked.take(&weak(&images[1])), None);
        let [first, ..] = &*images else {
            unreachable!("there are three");
        };
        for slot in 10..10 + PARKED_MAX - 2 {
            assert!(parked.add(slot, weak(first)).is_empty());
        }
        assert_eq!(parked.add(100, weak(first)), [0]);
        assert_eq!(parked.take(&weak(first)), Some(100), "the warmest");
        assert_eq!(parked.take_oldest(), Some(2));
        let kept = images[0].clone();
        drop(images);
        assert!(parked.add(200, weak(&kept)).is_empty());
        drop(kept);
        let other = Arc::new(Nothing);
        assert_eq!(parked.add(300, weak(&other)).len(), PARKED_MAX - 1);
        assert_eq!(parked.take(&weak(&other)), Some(300));
    }

    #[test]
    fn only_the_next_memory_of_this_thread_is_for_the_image() {
        let image = Arc::new(Nothing);
        let wanted = Wanted::new(&image);
        let elsewhere = std::thread::spawn(|| Wanted::take().is_none());
        assert!(elsewhere.join().expect("it does not panic"));
        assert!(Wanted::take().is_some_and(|found| same(&found, &weak(&image))));
        assert!(Wanted::take().is_none());
        drop(wanted);
        drop(Wanted::new(&image));
        assert!(Wanted::take().is_none());
    }
}
