//! A Redis-compatible server that runs WebAssembly functions beside its data.

pub mod config;
pub mod embedded;
pub mod log;
pub mod open_files;

mod accept;
mod admission;
mod audit;
mod background;
mod buffers;
mod call_notes;
mod clients;
mod commands;
mod connection;
mod conversation;
mod dispatch;
mod end;
mod functions;
mod functions_sum;
mod held;
mod host;
mod hot_reload;
mod listen;
mod long_call;
mod metrics;
mod metrics_server;
mod multi;
mod poll_once;
mod replies;
mod session;
mod since_wait;
mod slow_calls;
mod socket;
mod stats;
mod step;
pub mod time_slice;
mod tls;
mod turns;
mod unsettled;
mod upkeep;
mod users;
mod within;

pub use host::{Host, StartError};
pub use listen::{ListenError, Listeners, run};
pub use tls::TlsError;
pub use users::UsersError;
