//! Where entries live: shards with a lock each, tables that grow by splitting small segments.

pub(crate) mod deadline;
pub(crate) mod effect;
pub(crate) mod shard;
pub(crate) mod table;
