//! One call: its request, its state while the guest runs, and its reply.

pub(crate) mod data_access;
pub(crate) mod float_text;
pub(crate) mod fuel_account;
pub(crate) mod guest_log;
pub(crate) mod host_trap;
pub(crate) mod input;
pub mod outer_transaction;
pub(crate) mod overflow;
pub(crate) mod reply_builder;
pub mod request;
pub(crate) mod resource_limiter;
mod restricted_scan;
pub(crate) mod scalar_values;
pub(crate) mod settlement;
pub(crate) mod state;
