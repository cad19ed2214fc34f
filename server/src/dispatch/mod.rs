//! Answers each request, in one of four ways: as a command of the server, on functions, on data, or
//! queued by `MULTI`.
//!
//! A request on data that need not wait is answered without a future and without an allocation; one
//! that must becomes a [`progress::Pending`].

pub(crate) mod authorize;
mod call_all;
pub(crate) mod call_log;
pub(crate) mod data_commands;
mod exec_parts;
pub(crate) mod exec_with_calls;
pub(crate) mod function_commands;
pub(crate) mod guarded_write;
pub(crate) mod progress;
mod run_call;
pub(crate) mod server_commands;
pub(crate) mod subscribed;
pub(crate) mod transaction;
pub(crate) mod waiting;
