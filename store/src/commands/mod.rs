//! The data commands, one file a family. Each is written once and runs plain and in transactions.

mod arguments;
mod bitfield;
mod bits;
mod blocking;
pub(crate) mod counters;
pub(crate) mod expiry;
pub(crate) mod hashes;
pub(crate) mod keys;
mod list_search;
pub(crate) mod lists;
mod object;
mod random;
pub(crate) mod scan;
mod set_algebra;
mod sets;
mod sort;
pub(crate) mod spec;
pub(crate) mod strings;
pub(crate) mod table;
mod zset_algebra;
mod zset_bounds;
mod zset_ranges;
pub(crate) mod zsets;
