//! Runs commands directly on the data, and records the edits that they make.

pub(crate) mod core;
pub(crate) mod direct;
pub(crate) mod edit;
pub(crate) mod listing;
pub(crate) mod pop;
pub(crate) mod scan_shards;
pub(crate) mod serve_blocked;
pub(crate) mod shard_locks;
pub(crate) mod view;
