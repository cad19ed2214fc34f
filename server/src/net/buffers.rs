//! Read and write buffers, which a connection holds only while it has requests.
//!
//! Most connections of a busy server are idle at any moment. Each thread keeps a few buffers for its
//! connections to share, so an idle connection needs none and a busy one allocates none.

use std::cell::RefCell;

/// Smallest capacity of a buffer. A pipeline of a thousand short commands fits.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;

/// Largest capacity of a buffer that is kept; larger ones are freed.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Most buffers that a thread keeps.
const KEPT_MAX: usize = 32;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Returns an empty buffer with a capacity of at least [`BUFFER_BYTES`].
pub(crate) fn take() -> Vec<u8> {
    KEPT.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
}

/// Keeps a buffer for later use by this thread. It may come from another thread.
pub(crate) fn recycle(mut buffer: Vec<u8>) {
    if !(BUFFER_BYTES..=KEPT_BYTES_MAX).contains(&buffer.capacity()) {
        return;
    }
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < KEPT_MAX {
            buffer.clear();
            kept.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::{BUFFER_BYTES, KEPT_BYTES_MAX, recycle, take};

    #[test]
    fn a_buffer_is_used_again_and_comes_back_empty() {
        let mut buffer = take();
        buffer.extend_from_slice(b"somebody's data");
        let address = buffer.as_ptr();
        recycle(buffer);
        let again = take();
        assert_eq!(again.as_ptr(), address);
        assert!(again.is_empty() && again.capacity() >= BUFFER_BYTES);
    }

    #[test]
    fn a_large_buffer_is_not_kept() {
        recycle(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert!(take().capacity() <= KEPT_BYTES_MAX);
    }
}
