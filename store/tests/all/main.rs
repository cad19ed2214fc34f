//! The store from outside: commands, transactions, durability, and the comparison with Valkey.

mod basics;
mod client;
mod differential;
mod durability;
mod isolation;
