//! The store's public API: the store, sessions, `MULTI`, transactions.

mod as_keyspace;
pub(crate) mod blocked;
pub(crate) mod data_command;
mod exec;
pub(crate) mod figures;
pub(crate) mod multi;
pub(crate) mod overlay;
pub(crate) mod records;
pub(crate) mod session;
pub(crate) mod store;
