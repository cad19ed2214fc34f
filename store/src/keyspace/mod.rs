//! The tables of entries: locked shards, whose tables grow by splitting small segments; and the
//! records of the host.

pub(crate) mod effect;
pub(crate) mod entries;
pub(crate) mod records;
pub(crate) mod shard;
pub(crate) mod table;
