//! A queue for long calls that take turns at computing, each for one time slice.
//!
//! A call that uses up its slice goes to the back of the queue. A call that something else wakes,
//! such as its deadline, a kill or a closed connection, goes to the front, so that it ends soon
//! however many others compute.
//!
//! The queue knows no threads. A host keeps it behind a lock, together with what limits how many
//! calls run at once, and does four things:
//!
//! - [`push_new`](RunQueue::push_new) for a new call,
//! - [`pop`](RunQueue::pop) when a thread is free, then polls that call once,
//! - [`end_turn`](RunQueue::end_turn) when the poll returned without a result, or
//!   [`RunState::finish`] when it returned one,
//! - [`RunState::wake_running`] and then, if that returns false, [`wake`](RunQueue::wake) from the
//!   call's [`Waker`](std::task::Waker).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Longest run of a guest before it yields its thread to others.
pub const TURN: Duration = Duration::from_millis(1);

/// Number of polls without a result after which a host may move a call out of the way of short
/// requests, to a thread of its own.
pub const SHORT_POLLS_MAX: u32 = 3;

/// Waits to be woken.
const IDLE: u8 = 0;
/// Is in the queue.
const QUEUED: u8 = 1;
/// Is being polled.
const RUNNING: u8 = 2;
/// Is being polled, and wants another turn after this one.
const WOKEN: u8 = 3;
/// Has ended, and is never queued again.
const FINISHED: u8 = 4;

/// An item of a [`RunQueue`].
pub trait Runnable {
    /// Returns its run state, which belongs to one queue only.
    fn run_state(&self) -> &RunState;
}

/// Place of a call: in the queue, running, or waiting to be woken.
///
/// Only the queue moves it into and out of the queue, with `&mut`, that is under the host's lock.
#[derive(Debug)]
pub struct RunState(AtomicU8);

impl RunState {
    /// The state of a call that is not in the queue yet; give it to [`RunQueue::push_new`].
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU8::new(IDLE))
    }

    /// Returns true from the moment [`RunQueue::pop`] returned the call until its turn ends.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.0.load(Ordering::Acquire), RUNNING | WOKEN)
    }

    /// Returns true if the running call was woken since its turn began.
    #[must_use]
    pub fn is_woken(&self) -> bool {
        self.0.load(Ordering::Acquire) == WOKEN
    }

    /// Begins another turn of a running call at once, without the queue.
    pub fn run_again(&self) {
        self.0.swap(RUNNING, Ordering::AcqRel);
    }

    /// Notes a wake without the queue. Returns false if the call is not running, so that the queue
    /// must place it: call [`RunQueue::wake`] then.
    pub fn wake_running(&self) -> bool {
        let mut state = self.0.load(Ordering::Acquire);
        while matches!(state, RUNNING | WOKEN) {
            // Also from `WOKEN` to `WOKEN`: the write makes what the waker did before visible to
            // the next turn.
            match self
                .0
                .compare_exchange(state, WOKEN, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        state == FINISHED
    }

    /// Ends the turn of a call that nothing has woken since the turn began. Returns false if
    /// something has: call [`RunQueue::end_turn`] then.
    pub fn end_turn_unwoken(&self) -> bool {
        self.0
            .compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Ends a running call. Later wakes do nothing.
    pub fn finish(&self) {
        self.0.store(FINISHED, Ordering::Release);
    }
}

impl Default for RunState {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls that wait for their turn, first come first served, save for those that were woken.
#[derive(Debug)]
pub struct RunQueue<T> {
    waiting: VecDeque<Arc<T>>,
}

impl<T> Default for RunQueue<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
        }
    }
}

impl<T: Runnable> RunQueue<T> {
    /// Number of calls that wait for their turn.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns true if no call waits for its turn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts a new call behind all others.
    pub fn push_new(&mut self, call: Arc<T>) {
        self.push_back(call);
    }

    /// Takes the first call, which is running from now on.
    pub fn pop(&mut self) -> Option<Arc<T>> {
        let call = self.waiting.pop_front()?;
        call.run_state().0.store(RUNNING, Ordering::Release);
        Some(call)
    }

    /// Ends the turn of a running call, and puts it behind all others if it was woken meanwhile.
    ///
    /// Returns true if it is in the queue now.
    pub fn end_turn(&mut self, call: Arc<T>) -> bool {
        if call.run_state().end_turn_unwoken() {
            return false;
        }
        self.push_back(call);
        true
    }

    /// Lets a call that waits go first: one that waited to be woken, or one in the queue. Notes the
    /// wake of a call that is running.
    ///
    /// Returns true if the call was put into the queue, so that a thread may be needed for it.
    pub fn wake(&mut self, call: &Arc<T>) -> bool {
        // Under the lock, so that a call that has left the queue meanwhile is found to be running.
        if call.run_state().wake_running() {
            return false;
        }
        // From `IDLE` and `QUEUED` nothing but this queue moves a call, and `self` is borrowed.
        let was = call.run_state().0.swap(QUEUED, Ordering::AcqRel);
        if was == QUEUED {
            let position = self.waiting.iter().position(|one| Arc::ptr_eq(one, call));
            if let Some(promoted) = position.and_then(|at| self.waiting.remove(at)) {
                self.waiting.push_front(promoted);
            }
            return false;
        }
        self.waiting.push_front(Arc::clone(call));
        true
    }

    fn push_back(&mut self, call: Arc<T>) {
        call.run_state().0.swap(QUEUED, Ordering::AcqRel);
        self.waiting.push_back(call);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::thread;

    use parking_lot::Mutex;

    use super::{RunQueue, RunState, Runnable};

    struct Call {
        name: u32,
        state: RunState,
        /// Number of times it was woken.
        wakes: AtomicU32,
    }

    impl Runnable for Call {
        fn run_state(&self) -> &RunState {
            &self.state
        }
    }

    fn call(name: u32) -> Arc<Call> {
        Arc::new(Call {
            name,
            state: RunState::new(),
            wakes: AtomicU32::new(0),
        })
    }

    fn queue_of<const N: usize>(names: [u32; N]) -> (RunQueue<Call>, [Arc<Call>; N]) {
        let calls = names.map(call);
        let mut queue = RunQueue::default();
        for call in &calls {
            queue.push_new(Arc::clone(call));
        }
        (queue, calls)
    }

    fn drain(queue: &mut RunQueue<Call>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop())
            .map(|call| call.name)
            .collect()
    }

    #[test]
    fn a_call_that_goes_on_by_itself_is_the_last() {
        let (mut queue, _) = queue_of([1, 2]);
        let first = queue.pop().unwrap();
        assert!(first.state.is_running() && first.state.wake_running());
        assert!(queue.end_turn(first));
        assert_eq!(drain(&mut queue), [2, 1]);
    }

    #[test]
    fn a_call_that_is_woken_while_it_waits_is_the_first() {
        let (mut queue, _) = queue_of([1, 2, 3]);
        let first = queue.pop().unwrap();
        assert!(!queue.end_turn(Arc::clone(&first)));
        assert!(!first.state.wake_running());
        assert!(queue.wake(&first), "it is in the queue again");
        assert!(!queue.wake(&first), "once");
        assert_eq!(drain(&mut queue), [1, 2, 3]);
    }

    #[test]
    fn a_wake_promotes_a_call_that_is_in_the_queue() {
        let (mut queue, [_, _, third]) = queue_of([1, 2, 3]);
        assert!(!third.state.wake_running());
        assert!(!queue.wake(&third));
        assert_eq!((queue.len(), drain(&mut queue)), (3, vec![3, 1, 2]));
    }

    #[test]
    fn a_wake_that_comes_late_finds_the_call_running() {
        let (mut queue, [only]) = queue_of([1]);
        assert!(!only.state.wake_running(), "it is in the queue");
        assert!(queue.pop().is_some());
        assert!(!queue.wake(&only));
        assert!(only.state.is_woken());
        only.state.run_again();
        assert!(only.state.is_running() && !only.state.is_woken());
        assert!(only.state.end_turn_unwoken() && queue.is_empty());
    }

    #[test]
    fn a_finished_call_is_never_queued_again() {
        let (mut queue, [only]) = queue_of([1]);
        assert!(queue.pop().is_some());
        assert!(only.state.wake_running());
        only.state.finish();
        assert!(only.state.wake_running() && !queue.wake(&only));
        assert!(!only.state.is_running() && queue.is_empty());
    }

    #[test]
    fn a_wake_at_any_time_is_seen_by_a_later_turn() {
        const WAKES: u32 = 20_000;
        let (queue, [only]) = queue_of([1]);
        let (queue, over) = (Mutex::new(queue), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let Some(call) = queue.lock().pop() else {
                            thread::yield_now();
                            continue;
                        };
                        if call.wakes.load(Ordering::Relaxed) == WAKES {
                            over.store(true, Ordering::Relaxed);
                        }
                        if !call.state.end_turn_unwoken() {
                            queue.lock().end_turn(call);
                        }
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..WAKES {
                    only.wakes.fetch_add(1, Ordering::Relaxed);
                    if !only.state.wake_running() {
                        queue.lock().wake(&only);
                    }
                }
            });
        });
        // The threads ended: the turn after the last wake saw it.
        assert_eq!(only.wakes.load(Ordering::Relaxed), WAKES);
    }
}
