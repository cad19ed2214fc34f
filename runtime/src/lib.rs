//! The lean runtime: loads artifacts and calls functions, without a compiler.

pub mod error;
pub mod keyspace;

pub mod resp;
