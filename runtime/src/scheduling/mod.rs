//! Decides when calls run, yield, wait and end, and bounds how many run at once.

pub mod cancellation;
pub mod per_core;
pub mod pool;
pub mod run_queue;
pub mod ticker;
pub mod wait;
