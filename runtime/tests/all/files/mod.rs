//! Directories and files of functions, and WASI.

mod directories;
pub(crate) mod kept;
mod scratch;
mod wasi;
