//! The embedded store as the runtime's keyspace.

pub mod embedded;
pub(crate) mod reply_writer;
