//! The registered functions by name, and the file that keeps them across restarts.

pub(crate) mod file;
pub mod record;
pub(crate) mod release;
pub(crate) mod rollback_guard;
pub(crate) mod table;
