//! The tables of entries: locked shards, whose tables grow by splitting small segments.

pub(crate) mod effect;
pub(crate) mod shard;
pub(crate) mod table;
