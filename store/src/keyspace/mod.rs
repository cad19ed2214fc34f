//! Where entries live: shards with a lock each, tables that grow by splitting small segments.

pub(crate) mod expiring;
pub(crate) mod shard;
pub(crate) mod table;
