//! Rewinding: a pristine instance for every call, without making a new one. This is the mechanism
//! alone; `instance::rewindable` joins it to the call path.
//!
//! An instance that may be rewound has a linear memory of our own. After it is made, its memory
//! shows a pristine image that all instances of the module share, and is write-protected. The
//! first write to a page faults; the `fault` handler makes the page writable and notes it. After
//! the call the noted pages are copied back from the image and the globals are restored: no
//! system call, no slower guest code, and the host's own writes are covered because they fault
//! too. Noted pages stay writable, so the second call of a kind costs the copies alone, and new
//! instances start with the pages that their siblings needed.
//!
//! | file | what it is |
//! |---|---|
//! | `arena` | address space for such memories, and how wasmtime gets them |
//! | `exports` | what the compiler put into a module so that the host can rewind it |
//! | `slot` | the fault handler's record of one memory; only atomics |
//! | `fault` | the signal handler |
//! | `image` | the pristine contents of a module's memory, and the pages that calls write |
//! | `touched` | finds the pages that hold data, so that capturing an image is fast |
//! | `snapshot` | image and globals together; capture, attach, rewind |

#![allow(
    unsafe_code,
    reason = "memory protection, a signal handler and copies between mappings have no safe form"
)]

pub mod arena;
pub mod exports;
mod fault;
mod image;
mod slot;
pub mod snapshot;
mod touched;

pub use image::ImageError;

/// Bytes in a page of the host. Both supported architectures are run with 4 KiB pages; an aarch64
/// kernel with larger ones is refused by [`arena::Arena::new`].
pub(crate) const HOST_PAGE: usize = 4096;

/// Bytes in a page of WebAssembly.
pub(crate) const WASM_PAGE: u64 = 65_536;
