//! Transactions of the store, alone, over an overlay, and against each other.

mod isolation;
mod listings;
pub(crate) mod overlay;
pub(crate) mod savepoints;
mod serializability;
pub(crate) mod units;
