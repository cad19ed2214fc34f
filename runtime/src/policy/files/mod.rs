//! Files that functions are trusted with: directories that the operator names, for reading.
//!
//! [`directory`] says which directories there are, `table` which files a call has open. Calls reach
//! them through WASI. No path leads out of its directory: the kernel resolves each one beneath it, so
//! that links, `..` and renames meanwhile change nothing.

pub mod directory;
pub(crate) mod errno;
pub(crate) mod table;
