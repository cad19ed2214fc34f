//! The functions by name, and the file that remembers them across restarts.

pub mod file;
pub mod record;
pub mod release;
pub mod rollback_guard;
pub mod table;
