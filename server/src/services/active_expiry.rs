//! Work every 100 ms: frees the memory of expired keys, samples the rates, checks the memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::state::ServerState;

/// Time between rounds.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);

/// Segments of keys that one round visits, so that it takes well below a millisecond.
const SEGMENTS_PER_ROUND: usize = 16;

/// Does its work until it is dropped.
pub(crate) async fn run(state: Arc<ServerState>) {
    let mut ticks = interval(EXPIRY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        state.store.expire_cycle(SEGMENTS_PER_ROUND);
        state.sample_rates();
        state.check_memory();
    }
}
