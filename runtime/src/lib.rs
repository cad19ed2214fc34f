//! The lean runtime: loads artifacts and calls functions, without a compiler.

pub mod artifact;
pub mod call;
pub mod commands;
pub mod error;
mod executor;
mod host;
pub mod instance;
pub mod metrics;
pub mod policy;
pub mod registry;
pub mod rewind;
pub mod scheduling;
pub mod service;

pub use call::request::{CallOutcome, CallRequest};
pub use executor::ExecutorError;
pub use executor::function::{EffectiveIsolation, Entry, Function};
pub use service::call_target::{CallTarget, HeldEntry, HeldFunction};
pub use service::options::RuntimeOptions;
pub use service::{LoadRequest, Runtime, StartError};
