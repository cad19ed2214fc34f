//! The functions of the host, by slices instead of pointers.
//!
//! Inside a guest they are the imports of the module; elsewhere they work on a store in memory, so
//! that functions can be tested on any machine.

#[cfg(target_family = "wasm")]
mod guest;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod in_memory;
pub(crate) mod result_buffer;

#[cfg(all(target_family = "wasm", not(feature = "std")))]
pub use guest::panicked;
#[cfg(target_family = "wasm")]
pub(crate) use guest::*;
#[cfg(not(target_family = "wasm"))]
pub(crate) use in_memory::calls::*;
