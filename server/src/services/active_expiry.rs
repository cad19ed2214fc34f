//! What the server does by itself now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::state::ServerState;

/// How often keys that have expired give back their memory.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);

/// Segments of keys that one round looks into, so that it stays well below a millisecond.
const SEGMENTS_PER_ROUND: usize = 16;

/// Keeps the house in order until it is dropped.
pub(crate) async fn run(state: Arc<ServerState>) {
    let mut ticks = interval(EXPIRY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        state.store.expire_cycle(SEGMENTS_PER_ROUND);
    }
}
