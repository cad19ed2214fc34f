//! The function registry inside the server: replicated, persisted, shared by a cluster.

pub(crate) mod cluster_bus;
pub(crate) mod entry;
pub(crate) mod peer_fetch;
pub(crate) mod propagate;
pub(crate) mod rdb;
