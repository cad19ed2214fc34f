//! The lean runtime: loads artifacts and calls functions, without a compiler.

pub mod error;
pub mod glob;
pub mod json;
pub mod keyspace;
pub mod limits;
pub mod permissions;
pub mod quantity;
pub mod resp;
