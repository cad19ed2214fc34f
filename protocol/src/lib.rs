//! RESP, glob patterns, numbers, arities, error chains, and the traits between the runtime and a host's data.

pub mod arity;
pub mod error_chain;
pub mod glob;
pub mod keyspace;
pub mod number;
pub mod resp;
