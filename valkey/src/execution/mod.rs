//! Where a call runs: on the server's main thread, or beside it once it takes long.

pub(crate) mod blocked_client;
mod mailbox;
pub(crate) mod main_thread;
pub(crate) mod runner;
pub(crate) mod worker_pool;
