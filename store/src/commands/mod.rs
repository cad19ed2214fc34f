//! The data commands, one file a family. Each has one implementation, also for transactions.

mod arguments;
mod blocking;
#[cfg(test)]
mod cost;
#[cfg(test)]
mod cost_requests;
mod geo;
pub(crate) mod hashes;
pub(crate) mod keys;
pub(crate) mod lists;
pub(crate) mod long_double;
mod random;
mod sets;
pub(crate) mod spec;
pub(crate) mod strings;
pub(crate) mod table;
pub(crate) mod zsets;
