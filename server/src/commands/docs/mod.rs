//! The documentation of every command, as `COMMAND DOCS` answers it.

pub(crate) mod catalog;
pub(crate) mod usage;
