//! Sockets, TLS, and the buffers behind them.

pub(crate) mod accept_backoff;
pub(crate) mod buffers;
pub(crate) mod engine;
pub(crate) mod memory_budget;
pub(crate) mod socket;
pub(crate) mod tls;
