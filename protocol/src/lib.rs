//! RESP, glob patterns, numbers, arities, kept arguments, error chains, text on one line, and the traits between the
//! runtime and a host's data.

pub mod argv;
pub mod arity;
pub mod budget;
pub mod error_chain;
pub mod events;
pub mod glob;
pub mod keyspace;
pub mod number;
pub mod one_line;
pub mod record;
pub mod resp;
