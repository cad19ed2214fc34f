//! A Redis-compatible server that runs WebAssembly functions beside its data.

// Which futures may change threads depends on the types of the store's engine, which are deep; rustdoc
// asks it of more types than the compiler.
#![recursion_limit = "256"]

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
pub use commands::server::acl::UsersFileError;
pub use commands::table::{check_users, load_users};
pub use net::engine::EngineError;
pub use net::tls::TlsError;
pub use server::{ListenError, Listeners, run};
pub use services::backup::BackupError;
pub use services::backup::restore::{Restored, restore};
pub use services::check_files::check_files;
pub use services::engine_functions::begin as take_over_functions;
pub use state::{ServerState, StartError};
