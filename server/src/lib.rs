//! A Redis-compatible server that runs WebAssembly functions beside its data.

pub mod config;
