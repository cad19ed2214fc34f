//! Decides when calls run, yield, wait and end, and bounds how many run at once.

pub mod cancellation;
pub mod moment;
pub mod per_core;
pub mod pool;
pub mod run_queue;
pub(crate) mod timer;
pub mod user_share;
pub mod wait;
