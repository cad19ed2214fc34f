//! Work every 100 ms: frees the memory of expired keys, samples the rates, checks the memory and gives it back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::services::memory_release::MemoryRelease;
use crate::state::ServerState;

/// Time between rounds.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);

/// Longest time that expired keys are removed for at once. Connections of the same thread wait for it.
const SLICE_TIME: Duration = Duration::from_millis(1);

/// Does its work until it is dropped.
pub(crate) async fn run(state: Arc<ServerState>) {
    let mut ticks = interval(EXPIRY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Slices in a row that left something.
    let mut behind = 0;
    let mut release = MemoryRelease::default();
    loop {
        ticks.tick().await;
        let started = Instant::now();
        while state.store.expire_cycle(SLICE_TIME).more {
            behind = u32::saturating_add(behind, 1);
            if started.elapsed() >= EXPIRY_INTERVAL {
                break;
            }
            match pause(behind) {
                Some(time) => sleep(time).await,
                None => yield_now().await,
            }
        }
        if started.elapsed() < EXPIRY_INTERVAL {
            behind = 0;
        }
        state.sample_rates();
        state.check_memory();
        release.check(&state);
    }
}

/// The pause after a slice, when this many in a row have left something: the longer keys expire faster
/// than they are removed, the larger is the share of a core that removes them. `None` lets others
/// run, and then goes on.
fn pause(behind: u32) -> Option<Duration> {
    match behind {
        0..8 => Some(Duration::from_millis(3)),
        8..32 => Some(Duration::from_millis(1)),
        _ => None,
    }
}
