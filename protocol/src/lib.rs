//! RESP, glob patterns, numbers, and the traits between the runtime and a host's data.

pub mod glob;
pub mod keyspace;
pub mod number;
pub mod resp;
