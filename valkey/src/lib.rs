//! Ferrite WASM as a module for Valkey and Redis: the same functions and commands, on the engine's
//! own data, replication, persistence and cluster.
//!
//! The server loads the library and calls `start`'s two entry points, one under each project's
//! name. From there on, every way from the server into the module is a callback behind a guard that
//! lets no panic through, and every way back is a method of `context`, `open_key` and their like,
//! which are the only files that touch the C interface.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "a method with a lifetime of its type's is not general enough where a closure is"
)]

mod api;
mod commands;
mod execution;
mod load;
mod module;
mod options;
mod registry;
mod scripting;
mod transaction;
