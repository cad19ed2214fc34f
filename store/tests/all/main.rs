//! The store from outside: commands, transactions, durability, and the comparison with Valkey.

#![allow(
    clippy::print_stdout,
    reason = "what was skipped, and how much was tried, is worth saying"
)]

mod allocations;
mod blocking;
mod client;
mod commands;
mod damaged_journals;
mod differential;
mod durability;
mod event_sink;
mod live_memory;
mod records;
mod transactions;
mod usage;
