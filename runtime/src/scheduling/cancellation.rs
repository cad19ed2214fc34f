//! Kills running and waiting calls: by their id, with all calls of their function, or by their
//! caller.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::scheduling::moment::Moment;

/// Bits of a call's id that number the calls of a slot; the other bits number the slot. With 24
/// bits, an old id could name another call after 16 million calls on the same slot; with 39 bits
/// left, slot numbers do not run out and ids fit a RESP integer.
const SEQUENCE_BITS: u32 = 24;

/// Bit of a slot's state that says that its call was killed. Ids leave it free.
const KILLED: u64 = 1 << 63;

static NEXT_SLOT: AtomicU64 = AtomicU64::new(1);

/// Identifies one running call in this process, as `WASM.KILL` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u64);

impl CallId {
    /// Makes an id from its number; see [`CallId::number`].
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Returns the id's number, which is never 0.
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

/// The place where one call at a time runs: its current call, and whether that was killed.
///
/// A slot lives as long as an instance or its buffers, so a call costs two stores into memory that
/// no other call uses, and no entry in a shared table. The mark of a kill goes where the call's id is, in
/// one step, so that it cannot hit the next call of the slot.
///
/// Slots have cache lines of their own, because those of two threads may be neighbours in memory.
#[derive(Debug)]
pub(crate) struct CallSlot {
    state: CachePadded<SlotState>,
}

#[derive(Debug)]
struct SlotState {
    /// Number of the slot, shifted left by [`SEQUENCE_BITS`].
    number: u64,
    /// Calls that have begun here. Only the slot's owner changes it.
    begun: AtomicU64,
    /// Id of the running call, with [`KILLED`] once it was killed; or 0.
    current: AtomicU64,
    /// Start of the running call in microseconds, or 0 while nobody has read the clock.
    started_micros: AtomicU64,
    /// Wakes the task of the call, once the call has yielded its thread for the first time.
    stop_waker: Mutex<Option<Waker>>,
}

/// A running call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningCall {
    /// Id of the call.
    pub id: CallId,
    /// Start of the call, exact to a slice of its meter; now, if that has not passed.
    pub since: Moment,
}

impl CallSlot {
    /// Creates a slot without a call.
    #[must_use]
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: CachePadded::new(SlotState {
                number: NEXT_SLOT.fetch_add(1, Ordering::Relaxed) << SEQUENCE_BITS,
                begun: AtomicU64::new(0),
                current: AtomicU64::new(0),
                started_micros: AtomicU64::new(0),
                stop_waker: Mutex::default(),
            }),
        })
    }

    /// Begins the slot's next call.
    pub(crate) fn begin(&self) {
        let state = &*self.state;
        let sequence = state.begun.load(Ordering::Relaxed).wrapping_add(1);
        state.begun.store(sequence, Ordering::Relaxed);
        let id = state.number | (sequence & ((1 << SEQUENCE_BITS) - 1));
        state.started_micros.store(0, Ordering::Relaxed);
        // Release: a thread that reads the id does not read the start of the call before.
        state.current.store(id, Ordering::Release);
    }

    /// Tells when the running call began.
    pub(crate) fn note_start(&self, started: Moment) {
        let micros = started.micros();
        self.state.started_micros.store(micros, Ordering::Relaxed);
    }

    /// Ends the call.
    ///
    /// Its waker may stay: a spurious wake-up does no harm.
    pub(crate) fn end(&self) {
        self.state.current.store(0, Ordering::Relaxed);
    }

    /// Ends work that was listed as the call, of which the rest follows in another slot. Returns true if it
    /// was killed: the rest must not run.
    #[must_use]
    pub(crate) fn end_part(&self) -> bool {
        self.state.current.swap(0, Ordering::Relaxed) & KILLED != 0
    }

    /// Returns true if the running call was killed.
    #[must_use]
    pub(crate) fn is_killed(&self) -> bool {
        self.state.current.load(Ordering::Relaxed) & KILLED != 0
    }

    /// Returns the running call.
    #[must_use]
    pub(crate) fn running(&self) -> Option<RunningCall> {
        let id = self.state.current.load(Ordering::Acquire) & !KILLED;
        (id != 0).then(|| RunningCall {
            id: CallId(id),
            since: match self.state.started_micros.load(Ordering::Relaxed) {
                0 => Moment::now(),
                micros => Moment::from_micros(micros),
            },
        })
    }

    /// Kills the running call if its id is `only`, or whatever its id is without `only`. Returns
    /// true if it did.
    ///
    /// The call ends at the end of its meter's slice, and is woken for that if it has yielded its thread.
    pub(crate) fn kill(self: &Arc<Self>, only: Option<CallId>) -> bool {
        let current = self.state.current.load(Ordering::Relaxed);
        let id = current & !KILLED;
        let hit = id != 0
            && only.is_none_or(|only| only.0 == id)
            // Fails if the call has ended meanwhile, or somebody else was first to kill it.
            && match self.state.current.compare_exchange(
                id,
                id | KILLED,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => true,
                Err(now) => now == id | KILLED,
            };
        if hit {
            self.wake_by_ref();
        }
        hit
    }

    /// Sets the waker that a kill or the deadline of the running call wakes.
    pub(crate) fn set_stop_waker(&self, waker: &Waker) {
        let mut stop_waker = self.state.stop_waker.lock();
        match &mut *stop_waker {
            Some(known) => known.clone_from(waker),
            None => *stop_waker = Some(waker.clone()),
        }
    }
}

/// Wakes the task of the call, which may queue behind others and has to stop.
impl Wake for CallSlot {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Outside the lock, because a waker runs code of the executor.
        let waker = self.state.stop_waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A caller's own kill switch for one call, passed along with the request.
///
/// Unlike a call's id it exists before the call begins, and it also kills a call that still waits.
/// A caller that owns the call's future can drop that instead.
#[derive(Clone, Debug, Default)]
pub struct CallHandle(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    killed: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl CallHandle {
    /// Creates a switch for a future call.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Kills the call: at once while it waits, at the end of its meter's slice while it runs.
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

    /// Returns true once [`CallHandle::kill`] was called.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.0.killed.load(Ordering::Relaxed)
    }

    /// Sets the waker that a kill wakes. Returns true if the call is killed already.
    pub(crate) fn wake_on_kill(&self, waker: &Waker) -> bool {
        let mut waiting = self.0.waiting.lock();
        *waiting = Some(waker.clone());
        self.is_killed()
    }
}

#[cfg(test)]
mod tests {
    use super::{CallHandle, CallId, CallSlot};

    #[test]
    fn a_kill_hits_the_call_it_names_and_no_later_one() {
        let slot = CallSlot::new();
        assert!(!slot.kill(None), "nothing runs");
        slot.begin();
        let first = slot.running().expect("a call runs").id;
        assert!(!slot.kill(Some(CallId::from_number(first.number() + 1))));
        assert!(!slot.is_killed());
        assert!(slot.kill(Some(first)));
        assert!(slot.is_killed());
        slot.end();
        assert!(!slot.is_killed());
        slot.begin();
        assert!(!slot.kill(Some(first)), "that one is over");
        assert!(!slot.is_killed());
        assert!(slot.kill(None));
        assert!(slot.is_killed());
    }

    #[test]
    fn a_kill_of_a_part_is_told_when_the_part_ends() {
        let slot = CallSlot::new();
        slot.begin();
        assert!(!slot.end_part());
        slot.begin();
        assert!(slot.kill(None) && slot.kill(None), "killed twice");
        assert!(slot.end_part());
        assert!(!slot.kill(None), "nothing runs");
        slot.begin();
        assert!(!slot.is_killed());
    }

    #[test]
    fn ids_are_unique_across_slots() {
        let (one, other) = (CallSlot::new(), CallSlot::new());
        one.begin();
        other.begin();
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
