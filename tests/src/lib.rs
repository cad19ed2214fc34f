//! Support for end-to-end tests: the real programs as child processes, and a small RESP client.

mod client;
mod engine;
mod program;
mod reply;
mod server;

pub use client::{Client, encode};
pub use engine::{Engine, EngineBuilder, EngineKind, free_port};
pub use program::{DebianProgram, command, debian_program, program, target_dir};
pub use reply::Reply;
pub use server::{Server, ServerBuilder};
