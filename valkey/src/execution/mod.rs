//! Runs calls: on the server's main thread, or on other threads once they take long.

pub(crate) mod blocked_client;
pub(crate) mod caller_share;
pub(crate) mod job;
mod mailbox;
pub(crate) mod main_thread;
pub(crate) mod runner;
pub(crate) mod worker_pool;
