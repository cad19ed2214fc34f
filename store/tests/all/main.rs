//! The store from outside: commands, transactions, durability, and the comparison with Valkey.

#![allow(
    clippy::print_stdout,
    reason = "what was skipped, and how much was tried, is worth saying"
)]

mod allocations;
mod blocking;
mod client;
mod commands;
mod differential;
mod durability;
mod event_sink;
mod records;
mod transactions;
mod usage;
