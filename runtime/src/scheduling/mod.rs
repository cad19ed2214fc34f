//! When a call runs, gives way, waits and ends; and how many may do so at once.

pub mod cancellation;
pub mod epoch_ticker;
pub mod per_core;
pub mod pool;
pub mod run_queue;
pub mod wait;
