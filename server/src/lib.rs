//! A Redis-compatible server that runs WebAssembly functions beside its data.

mod clients;
mod commands;
pub mod config;
mod connection;
mod dispatch;
mod functions;
mod net;
mod observability;
pub mod process;
mod request;
pub mod scheduling;
mod server;
mod services;
mod state;

pub use clients::users::UsersError;
pub use net::tls::TlsError;
pub use server::{ListenError, Listeners, run};
pub use state::{ServerState, StartError};
