//! A Redis-compatible server that runs WebAssembly functions beside its data.

mod clients;
pub mod config;
mod functions;
mod maintenance;
mod net;
mod observability;
pub mod process;
pub mod scheduling;

mod commands;
mod connection;
mod dispatch;
mod server;
mod state;

pub use clients::users::UsersError;
pub use net::tls::TlsError;
pub use server::{ListenError, Listeners, run};
pub use state::{Host, StartError};
