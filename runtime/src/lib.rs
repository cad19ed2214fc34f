//! The lean runtime: loads artifacts and calls functions, without a compiler.

pub mod artifact;
pub mod call;
pub mod commands;
pub mod error;
pub mod executor;
mod host;
pub mod instance;
pub mod metrics;
pub mod policy;
pub mod registry;
pub mod rewind;
pub mod scheduling;
pub mod service;

pub use call::request::{CallOutcome, CallRequest};
pub use service::options::RuntimeOptions;
pub use service::{LoadRequest, Runtime, StartError};
