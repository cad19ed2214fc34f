//! The order in which calls and connections get their turns on the server's threads.

pub(crate) mod background;
pub(crate) mod futures;
pub(crate) mod long_calls;
pub(crate) mod run_queue;
pub mod time_slice;
