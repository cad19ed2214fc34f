//! The calls on all nodes that clients asked this node for, for `WASM.KILL`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::cluster_call::gathering::StopFlags;

/// Most such calls at the same time.
pub(crate) const CALLS_MAX: usize = 256;

/// The name of a call's function, and the call's flags.
type Known = (Box<[u8]>, Arc<StopFlags>);

static RUNNING: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// A call in the list, until it is dropped.
pub(crate) struct RunningCall {
    pub(crate) stop: Arc<StopFlags>,
}

impl RunningCall {
    /// Adds a call of a function; `None` if there are [`CALLS_MAX`].
    pub(crate) fn of(function: &[u8]) -> Option<Self> {
        let mut running = RUNNING.lock();
        if running.len() >= CALLS_MAX {
            return None;
        }
        let stop = Arc::new(StopFlags::default());
        running.push((function.into(), Arc::clone(&stop)));
        Some(Self { stop })
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        RUNNING
            .lock()
            .retain(|(_, known)| !Arc::ptr_eq(known, &self.stop));
    }
}

/// Sets the flag of each call of a function; returns their number.
pub(crate) fn kill(function: &[u8]) -> usize {
    let running = RUNNING.lock();
    let killed = running.iter().filter(|(name, _)| **name == *function);
    killed
        .map(|(_, stop)| stop.killed.store(true, Ordering::Relaxed))
        .count()
}
