//! Requests that calls commit with their writes, to be sent afterwards.

pub(crate) mod message;
pub(crate) mod queue;
pub(crate) mod table;
