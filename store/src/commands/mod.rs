//! The data commands, one file a family. Each is written once and runs plain and in transactions.

pub(crate) mod counters;
pub(crate) mod expiry;
pub(crate) mod hashes;
pub(crate) mod keys;
pub(crate) mod scan;
pub(crate) mod spec;
pub(crate) mod strings;
pub(crate) mod table;
