//! The store from outside: commands, transactions, durability, and the comparison with Valkey.

#![allow(
    clippy::print_stdout,
    reason = "what was skipped, and how much was tried, is worth saying"
)]

mod allocations;
mod basics;
mod blocking;
mod client;
mod differential;
mod durability;
mod edits;
mod event_sink;
mod field_expiry;
mod globs;
mod isolation;
mod limits;
mod listings;
mod overlay;
mod records;
mod savepoints;
mod serializability;
mod units;
mod usage;
