//! Commands that describe functions and their activity.

pub(crate) mod errors;
pub(crate) mod exports;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod memory;
pub(crate) mod stats;
