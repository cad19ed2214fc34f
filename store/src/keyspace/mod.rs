//! The tables of entries: shards with a lock each, whose tables grow by splitting small segments.

pub(crate) mod deadline;
pub(crate) mod effect;
pub(crate) mod shard;
pub(crate) mod table;
