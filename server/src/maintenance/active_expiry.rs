//! What the server does by itself now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::state::Host;

/// How often keys that have expired give back their memory.
const EXPIRE_EVERY: Duration = Duration::from_millis(100);

/// Segments of keys that one round looks into, so that it stays well below a millisecond.
const EXPIRE_SEGMENTS: usize = 16;

/// Keeps the house in order until it is dropped.
pub(crate) async fn run(host: Arc<Host>) {
    let mut ticks = interval(EXPIRE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        host.store.expire_cycle(EXPIRE_SEGMENTS);
    }
}
