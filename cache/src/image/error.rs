//! Faults of images.

use super::{IMAGE_RUNS_MAX, OVER_BASE, WHOLE};
use crate::digest::Digest;

/// Bytes are not an image, or it does not fit the code that it is to run on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ImageError {
    /// The first bytes are not those of an image.
    #[error("these bytes are no image")]
    Magic,
    /// This build does not read the version.
    #[error("the image has version {found}, and this build reads versions {WHOLE} and {OVER_BASE}")]
    Version {
        /// Version of the image.
        found: u8,
    },
    /// The length differs from the one that the lists give.
    #[error("the image has another length than it says")]
    Truncated,
    /// There are too many runs of pages.
    #[error("the image has {found} runs of pages, and at most {IMAGE_RUNS_MAX} are allowed")]
    Runs {
        /// Their number.
        found: usize,
    },
    /// An image over a base names runs of pages, where only patches belong.
    #[error(
        "the image changes the base of an engine, so it has patches and no runs of pages, but it names {found}"
    )]
    RunsOverBase {
        /// Their number.
        found: usize,
    },
    /// Runs or globals are not in order, or overlap.
    #[error("the image's pages or globals are not in order")]
    Order,
    /// Patches have another form, or are not in order.
    #[error("the patches of a memory are malformed")]
    Patches,
    /// The image changes a base, and the engine has none.
    #[error("the image changes the base of an engine, and this engine has none")]
    NoBase,
    /// There is something between the lists and the pages.
    #[error("the image has bytes where zeros belong")]
    Padding,
    /// A page, or what a base or a patch writes, lies outside of the memory.
    #[error("the image has contents up to {end:#x}, and its memory ends at {memory_bytes:#x}")]
    Outside {
        /// End of the last such page, in bytes.
        end: u64,
        /// Size of the memory.
        memory_bytes: u64,
    },
    /// A value has a type that globals do not have, or one that it does not fit.
    #[error("the image gives global {number} a value that no type has")]
    Value {
        /// The number of the global.
        number: u32,
    },
    /// The image belongs to other code.
    #[error("the image is for the engine {found}, which is another one")]
    Engine {
        /// The engine that the image names.
        found: Digest,
    },
    /// The memory has another size.
    #[error("the image has a memory of {found} pages, and the module one of {expected}")]
    Memory {
        /// Pages of the image's memory.
        found: u32,
        /// Pages of the module's.
        expected: u64,
    },
    /// The engine has no such global.
    #[error("the image sets global {number}, and the engine has {globals}")]
    Global {
        /// The number of the global.
        number: u32,
        /// Number of globals that can be set.
        globals: u32,
    },
}
