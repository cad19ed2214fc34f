//! The store from outside: commands, transactions, durability, and the comparison with Valkey.

mod basics;
mod blocking;
mod client;
mod differential;
mod durability;
mod isolation;
mod serializability;
mod units;
