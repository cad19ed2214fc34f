//! How a call is told to end: by its id, with all calls of its function, or by its caller.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;

use crate::scheduling::epoch_ticker::Moment;

/// Bits of an id that number the calls of a slot; the others number the slot, which is what runs
/// one call at a time. With 24 bits, an old id could name another call after 16 million calls
/// on the same slot; with 39 bits left, slots do not run out and ids fit a RESP integer.
const SEQUENCE_BITS: u32 = 24;

static NEXT_SLOT: AtomicU64 = AtomicU64::new(1);

/// Names one running call in this process, as `WASM.KILL` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u64);

impl CallId {
    /// The id with this number, from [`CallId::number`].
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The id's number, never 0.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The switch of one slot: which call it runs, and which of its calls shall end.
///
/// A slot lives as long as an instance or its buffers, so a call costs two stores into memory that
/// nobody else touches, and no entry in a shared table. Killing names the call, so that it cannot
/// hit the slot's next one.
///
/// It has lines of the processor's cache to itself (two are fetched at once), because the slots of
/// two threads may lie side by side.
#[derive(Debug)]
#[repr(align(128))]
pub struct CallSlot {
    number: u64,
    /// Calls that ever began here; changed only by the slot's owner.
    begun: AtomicU64,
    /// The call that runs, or 0.
    current: AtomicU64,
    /// The last call that shall end, or 0.
    killed: AtomicU64,
    started_micros: AtomicU64,
    /// Who has the call go on, once it has given way for the first time.
    gave_way: Mutex<Option<Waker>>,
}

/// A call that runs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningCall {
    /// Its id.
    pub id: CallId,
    /// When it began, to about a tick.
    pub since: Moment,
}

impl CallSlot {
    /// A slot that runs nothing.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            number: NEXT_SLOT.fetch_add(1, Ordering::Relaxed) << SEQUENCE_BITS,
            begun: AtomicU64::new(0),
            current: AtomicU64::new(0),
            killed: AtomicU64::new(0),
            started_micros: AtomicU64::new(0),
            gave_way: Mutex::default(),
        })
    }

    /// Begins the slot's next call, at `now`.
    pub fn begin(&self, now: Moment) {
        let sequence = self.begun.load(Ordering::Relaxed).wrapping_add(1);
        self.begun.store(sequence, Ordering::Relaxed);
        let id = self.number | (sequence & ((1 << SEQUENCE_BITS) - 1));
        self.started_micros.store(now.micros(), Ordering::Relaxed);
        // Release: who finds the id also finds when it started.
        self.current.store(id, Ordering::Release);
    }

    /// Ends the call.
    ///
    /// A waker that it gave may stay: to be woken for nothing does no harm.
    pub fn end(&self) {
        self.current.store(0, Ordering::Relaxed);
    }

    /// Whether the call that runs shall end.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        let killed = self.killed.load(Ordering::Relaxed);
        killed != 0 && killed == self.current.load(Ordering::Relaxed)
    }

    /// The call that runs.
    #[must_use]
    pub fn running(&self) -> Option<RunningCall> {
        let id = self.current.load(Ordering::Acquire);
        (id != 0).then(|| RunningCall {
            id: CallId(id),
            since: Moment::from_micros(self.started_micros.load(Ordering::Relaxed)),
        })
    }

    /// Ends the call that runs if it is `only`, or whichever it is; whether there was one.
    ///
    /// The call ends at its next tick, and is woken for it if it gave way.
    pub fn kill(self: &Arc<Self>, only: Option<CallId>) -> bool {
        let id = self.current.load(Ordering::Relaxed);
        let hit = id != 0 && only.is_none_or(|only| only.0 == id);
        if hit {
            self.killed.store(id, Ordering::Relaxed);
            self.wake_by_ref();
        }
        hit
    }

    /// Has `waker` woken when the call that runs is to end, until it gives way again.
    pub(crate) fn wake_at_end(&self, waker: &Waker) {
        let mut gave_way = self.gave_way.lock();
        match &mut *gave_way {
            Some(known) => known.clone_from(waker),
            None => *gave_way = Some(waker.clone()),
        }
    }
}

/// Wakes whoever has the call go on: it may wait for its turn behind others, and is to end.
impl Wake for CallSlot {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Outside the lock: a waker runs code of the executor's.
        let waker = self.gave_way.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A caller's own switch for one call, given along with the request.
///
/// Unlike a call's id it exists before the call begins, and it also ends a call that still waits.
/// A caller that owns the call's future may simply drop it instead.
#[derive(Clone, Debug, Default)]
pub struct CallHandle(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    killed: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl CallHandle {
    /// A switch for a call that is still to be made.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the call: at once while it waits, at its next tick while it runs.
    pub fn kill(&self) {
        // Under the lock, so that a call that starts to wait either sees the flag or is woken.
        let waker = {
            let mut waiting = self.0.waiting.lock();
            self.0.killed.store(true, Ordering::Relaxed);
            waiting.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether [`CallHandle::kill`] was called.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.0.killed.load(Ordering::Relaxed)
    }

    /// Has `waker` woken by a kill; whether it happened already.
    pub(crate) fn wake_on_kill(&self, waker: &Waker) -> bool {
        let mut waiting = self.0.waiting.lock();
        *waiting = Some(waker.clone());
        self.is_killed()
    }
}

#[cfg(test)]
mod tests {
    use super::{CallHandle, CallId, CallSlot, Moment};

    #[test]
    fn a_kill_hits_the_call_it_names_and_no_later_one() {
        let slot = CallSlot::new();
        assert!(!slot.kill(None), "nothing runs");
        slot.begin(Moment::default());
        let first = slot.running().expect("a call runs").id;
        assert!(!slot.kill(Some(CallId::from_number(first.number() + 1))));
        assert!(!slot.is_killed());
        assert!(slot.kill(Some(first)));
        assert!(slot.is_killed());
        slot.end();
        assert!(!slot.is_killed());
        slot.begin(Moment::default());
        assert!(!slot.kill(Some(first)), "that one is over");
        assert!(!slot.is_killed());
        assert!(slot.kill(None));
        assert!(slot.is_killed());
    }

    #[test]
    fn ids_are_unique_across_slots() {
        let (one, other) = (CallSlot::new(), CallSlot::new());
        one.begin(Moment::default());
        other.begin(Moment::default());
        assert_ne!(one.running(), other.running());
    }

    #[test]
    fn a_handle_remembers_and_wakes() {
        let handle = CallHandle::new();
        assert!(!handle.wake_on_kill(std::task::Waker::noop()));
        handle.kill();
        assert!(handle.is_killed());
        assert!(handle.wake_on_kill(std::task::Waker::noop()));
    }
}
