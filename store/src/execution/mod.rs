//! Runs commands straight on the data, and the edits that commands make.

pub(crate) mod core;
pub(crate) mod direct;
pub(crate) mod edit;
pub(crate) mod pop;
pub(crate) mod serve_blocked;
pub(crate) mod shard_locks;
pub(crate) mod view;
