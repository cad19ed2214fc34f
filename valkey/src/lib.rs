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

mod apply;
mod blocked;
mod call;
mod cluster;
mod commands_of_server;
mod config;
mod context;
mod effects;
mod end;
mod entries;
mod ffi;
mod generic;
mod guard;
mod here;
mod integer;
mod inverse;
mod jobs;
mod journal;
mod journalled;
mod keyspace;
mod library;
mod look;
mod module;
mod nodes;
mod open_key;
mod overlay;
mod peers;
mod persist;
mod place;
mod reads;
mod resp;
mod runner;
mod script_engine;
mod send;
mod serve;
mod server_data;
mod server_log;
mod session;
mod signals;
mod spread;
mod start;
mod table;
mod tell;
mod user;
mod words;
