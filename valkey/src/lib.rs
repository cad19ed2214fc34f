//! Ferrite WASM as a module for Valkey and Redis: the same functions and commands, on the engine's
//! own data, replication, persistence and cluster.
//!
//! The server loads the library and calls one of the two entry points in `load`, one for each
//! project's name. After that the server enters the module only through callbacks, each behind a
//! guard that lets no panic through. The module calls the server through the methods in `api`.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "a method with a lifetime of its type's is not general enough where a closure is"
)]

mod api;
mod automation;
mod cluster_call;
mod commands;
#[cfg(test)]
mod damaged;
mod execution;
mod load;
mod module;
mod options;
mod records;
mod registry;
mod scripting;
mod transaction;
