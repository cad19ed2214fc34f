//! Rewinding: a pristine instance for every call, without making a new one. This module is only the
//! mechanism; `instance::rewindable` uses it on the call path.
//!
//! An instance that may be rewound has a linear memory of our own. Once the instance is made, its
//! memory maps a pristine image that all instances of the module share, and is write-protected. The
//! first write to a page faults; the `fault` handler makes the page writable and records it. After
//! the call the recorded pages are copied back from the image and the globals are restored: no
//! system call, no slower guest code, and the host's own writes are covered because they fault too.
//! Recorded pages stay writable, so the second call of a kind only costs the copies, and new
//! instances start with the pages that their siblings needed.
//!
//! A memory has exactly the size that its guest sees: what lies behind is inaccessible, so that an
//! access there is a trap. If a call grows the memory, the reset makes the growth inaccessible again
//! and zero, for two system calls in each call that grows.
//!
//! | file | purpose |
//! |---|---|
//! | `arena` | address space for such memories, and wasmtime's access to them |
//! | `exports` | the compiler's additions to a module for rewinding |
//! | `slot` | the fault handler's record of one memory; only atomics |
//! | `fault` | the signal handler |
//! | `image` | the pristine contents of a module's memory, and the pages that calls write |
//! | `parked` | memories that keep their image for the next instance |
//! | `written` | asks the kernel which pages were written |
//! | `pristine_file` | the one file behind all images |
//! | `runs` | pages grouped into runs of neighbours |
//! | `touched` | finds the pages that hold data, so that capturing an image is fast |
//! | `snapshot` | image and globals together: capture, attach, rewind |

#![allow(
    unsafe_code,
    reason = "memory protection, a signal handler and copies between mappings have no safe form"
)]

pub mod arena;
pub mod exports;
mod fault;
mod image;
pub(crate) mod parked;
mod pristine_file;
mod runs;
mod slot;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod touched;
mod written;

pub use image::ImageError;

/// Bytes in a page of the host. Both supported architectures are run with 4 KiB pages; an aarch64
/// kernel with larger ones is refused by [`arena::Arena::new`].
pub(crate) const HOST_PAGE: usize = 4096;

/// Content of a page that was never written.
static ZEROS: [u8; HOST_PAGE] = [0; HOST_PAGE];

/// Most pages that an instance may write and still be rewound by copies.
///
/// To copy so many takes about as long as to map the image anew and fault on each page again.
/// An interpreter such as CPython writes one to three hundred.
///
/// Every writable page between protected ones splits a mapping of the kernel's in two, and a
/// process has 65,530 of them (`vm.max_map_count`). `slot` therefore bounds the mappings of all
/// memories together.
const PAGES_MAX: usize = 512;

/// Pages that take no time worth saving to copy back.
///
/// An instance that has ever written more starts anew after [`REWINDS_MAX`] calls, so that a rare
/// call that writes many pages does not make all later ones slower.
const FEW_PAGES: usize = 64;

/// Calls of an instance that has written more than [`FEW_PAGES`] before it starts anew.
const REWINDS_MAX: u32 = 1000;
