//! Files that functions are trusted with: directories that the operator names, for reading, and scratch
//! directories in memory, for writing.
//!
//! [`directory`] says which directories there are, `table` which files a call has open, `scratch` is a
//! directory in memory, and [`kept`] those that stay from call to call. Calls reach them through WASI. No path leads out of its directory: the kernel
//! resolves each one on disk beneath it, so that links, `..` and renames meanwhile change nothing.

pub mod directory;
pub(crate) mod errno;
pub mod kept;
pub(crate) mod scratch;
pub(crate) mod stat;
pub(crate) mod table;
