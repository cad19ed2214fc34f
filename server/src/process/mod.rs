//! The process itself: its log, its open files, its memory.

pub(crate) mod figures;
pub mod log;
pub(crate) mod memory;
pub mod open_files;
