//! A function's pool: how many calls run at once, who waits, and what idle things are kept.
//!
//! What is kept depends on the isolation: whole instances where they serve many calls, else only
//! the buffers of past calls. The pool does not know; it hands out the one used last, because its
//! memory is the warmest, and lets the others grow old.
//!
//! One lock a pool guards all of it, taken once when a call starts and once when it ends, for a
//! few instructions each. The ticker relies on calls being counted under it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::ticker::{Activity, Moment};

/// The size of a function's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Idle instances that are kept however long they are idle, and made when the function loads.
    pub instances_min: usize,
    /// Calls of the function that may run at once, and idle instances that are kept.
    pub instances_max: usize,
    /// Calls that may wait for one of those to end; past it a call is refused as busy.
    pub waiting_max: usize,
    /// How long an instance beyond `instances_min` may be idle.
    pub idle_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            instances_min: 0,
            instances_max: 64,
            waiting_max: 1024,
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// What a pool holds and does at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Calls that run.
    pub running: usize,
    /// Calls that wait.
    pub waiting: usize,
    /// Things kept for the next calls.
    pub idle: usize,
    /// Calls that ever started, wrapping.
    pub started: u64,
}

/// Why a call may not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many calls wait as may.
    Busy,
    /// Somebody ended every call of the function while this one waited.
    Cancelled,
}

/// A bounded pool of `T`; see the module's documentation.
///
/// It has lines of the processor's cache to itself (two are fetched at once): every call writes to
/// it, and what stands beside it is only read.
#[derive(Debug)]
#[repr(align(128))]
pub struct Pool<T> {
    options: PoolOptions,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    running: usize,
    started: u64,
    /// Used last at the end.
    idle: Vec<Idle<T>>,
    waiting: VecDeque<Waiting>,
    /// Tickets that were counted as running and whose owners do not know it yet.
    granted: Vec<u64>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Idle<T> {
    item: T,
    since: Moment,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    waker: Waker,
}

impl<T> Pool<T> {
    /// An empty pool. At least one call may run, whatever `options` say.
    #[must_use]
    pub fn new(mut options: PoolOptions) -> Self {
        options.instances_max = options.instances_max.max(1);
        Self {
            options,
            state: Mutex::new(State {
                running: 0,
                started: 0,
                idle: Vec::new(),
                waiting: VecDeque::new(),
                granted: Vec::new(),
                next_ticket: 0,
            }),
        }
    }

    /// The pool's size.
    #[must_use]
    pub fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// Starts a call at once if it need not wait; else `None`.
    #[inline]
    pub fn try_enter(&self) -> Option<Permit<'_, T>> {
        let mut state = self.state.lock();
        // Those who wait come first, or a busy function would never get to them.
        if state.running < self.options.instances_max && state.waiting.is_empty() {
            state.running += 1;
            Some(self.started(&mut state))
        } else {
            None
        }
    }

    /// Starts a call as soon as one may; those who wait are served in the order they came.
    ///
    /// # Errors
    ///
    /// [`Refused`]. The future may be dropped at any time.
    pub async fn enter(&self) -> Result<Permit<'_, T>, Refused> {
        if let Some(permit) = self.try_enter() {
            return Ok(permit);
        }
        let ticket = {
            let mut state = self.state.lock();
            if state.waiting.len() >= self.options.waiting_max {
                return Err(Refused::Busy);
            }
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.waiting.push_back(Waiting {
                ticket,
                waker: Waker::noop().clone(),
            });
            // A call may have ended since the look above.
            let woken = self.grant(&mut state);
            drop(state);
            wake(woken);
            ticket
        };
        let guard = TicketGuard { pool: self, ticket };
        let entered = poll_fn(|context| {
            let mut state = self.state.lock();
            if let Some(at) = state.granted.iter().position(|&granted| granted == ticket) {
                state.granted.swap_remove(at);
                return Poll::Ready(Ok(self.started(&mut state)));
            }
            match state.waiting.iter_mut().find(|one| one.ticket == ticket) {
                Some(waiting) => {
                    waiting.waker.clone_from(context.waker());
                    Poll::Pending
                }
                None => Poll::Ready(Err(Refused::Cancelled)),
            }
        })
        .await;
        drop(guard);
        entered
    }

    /// Refuses every call that waits.
    pub fn cancel_waiting(&self) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        for one in waiting {
            one.waker.wake();
        }
    }

    /// Keeps `item` for later calls without a call having used it; given back if there are enough.
    pub fn stock(&self, item: T, now: Moment) -> Option<T> {
        let mut state = self.state.lock();
        if state.idle.len() >= self.options.instances_max {
            return Some(item);
        }
        state.idle.push(Idle { item, since: now });
        None
    }

    /// Takes out what has been idle too long at `now`; also tells when to look again.
    ///
    /// What is taken out is for the caller to drop, since that may take a while.
    pub fn trim(&self, now: Moment) -> (Vec<T>, Option<Moment>) {
        let mut state = self.state.lock();
        let spare = state.idle.len().saturating_sub(self.options.instances_min);
        let old = state.idle[..spare]
            .iter()
            .take_while(|idle| now >= idle.since.after(self.options.idle_timeout))
            .count();
        let gone = state.idle.drain(..old).map(|idle| idle.item).collect();
        let next = (spare > old)
            .then(|| state.idle.first())
            .flatten()
            .map(|idle| idle.since.after(self.options.idle_timeout));
        (gone, next)
    }

    /// Takes out everything idle, for when others need the room.
    pub fn drain(&self) -> Vec<T> {
        let mut state = self.state.lock();
        state.idle.drain(..).map(|idle| idle.item).collect()
    }

    /// What the pool holds and does at this moment.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        let state = self.state.lock();
        PoolUsage {
            running: state.running,
            waiting: state.waiting.len(),
            idle: state.idle.len(),
            started: state.started,
        }
    }

    /// The same for the ticker.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let state = self.state.lock();
        Activity {
            running: state.running,
            started: state.started,
        }
    }

    /// Calls `see` with each idle item.
    pub fn for_each_idle(&self, see: impl FnMut(&T)) {
        let state = self.state.lock();
        state.idle.iter().map(|idle| &idle.item).for_each(see);
    }

    /// Hands a permit to a call that is counted in `running` already.
    fn started(&self, state: &mut State<T>) -> Permit<'_, T> {
        state.started = state.started.wrapping_add(1);
        Permit {
            pool: self,
            sequence: state.started,
            item: state.idle.pop().map(|idle| idle.item),
        }
    }

    /// Lets those in who wait while there is room, and tells whom to wake.
    #[must_use = "the wakers are woken once the lock is free"]
    fn grant(&self, state: &mut State<T>) -> Vec<Waker> {
        let mut woken = Vec::new();
        while state.running < self.options.instances_max
            && let Some(next) = state.waiting.pop_front()
        {
            state.running += 1;
            state.granted.push(next.ticket);
            woken.push(next.waker);
        }
        woken
    }

    fn leave(&self, item: Option<T>, now: Moment) {
        let mut state = self.state.lock();
        state.running -= 1;
        let spare = match item {
            Some(item) if state.idle.len() < self.options.instances_max => {
                state.idle.push(Idle { item, since: now });
                None
            }
            item => item,
        };
        let woken = if state.waiting.is_empty() {
            Vec::new()
        } else {
            self.grant(&mut state)
        };
        drop(state);
        drop(spare);
        wake(woken);
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

/// Leaves the queue when a waiting call is dropped, passing on a turn that it did not take.
struct TicketGuard<'a, T> {
    pool: &'a Pool<T>,
    ticket: u64,
}

impl<T> Drop for TicketGuard<'_, T> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        state.waiting.retain(|one| one.ticket != self.ticket);
        let granted = state.granted.iter().position(|&one| one == self.ticket);
        if let Some(at) = granted {
            state.granted.swap_remove(at);
            state.running -= 1;
        }
        let woken = self.pool.grant(&mut state);
        drop(state);
        wake(woken);
    }
}

/// The right of one call to run; given up when dropped.
#[derive(Debug)]
pub struct Permit<'a, T> {
    pool: &'a Pool<T>,
    sequence: u64,
    item: Option<T>,
}

impl<T> Permit<'_, T> {
    /// The how-manieth call of the pool this is, wrapping.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What an earlier call left behind, if there is anything.
    pub fn take(&mut self) -> Option<T> {
        self.item.take()
    }

    /// Ends the call and keeps `item`, as of `now`, for the next.
    pub fn put_back(self, item: T, now: Moment) {
        let pool = self.pool;
        // What the permit still holds was not used; it goes with it.
        drop(self.item_only());
        pool.leave(Some(item), now);
    }

    /// Takes the permit apart without giving up the right to run.
    fn item_only(self) -> Option<T> {
        let mut this = std::mem::ManuallyDrop::new(self);
        this.item.take()
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        let item = self.item.take();
        self.pool.leave(item, Moment::coarse());
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::{Moment, Pool, PoolOptions, Refused};

    fn pool(instances_max: usize, waiting_max: usize) -> Pool<u32> {
        Pool::new(PoolOptions {
            instances_min: 1,
            instances_max,
            waiting_max,
            idle_timeout: Duration::from_secs(1),
        })
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_was_used_last_is_handed_out_first() {
        let pool = pool(4, 0);
        let (one, two) = (pool.try_enter(), pool.try_enter());
        one.expect("room for one").put_back(1, Moment::default());
        two.expect("room for two").put_back(2, Moment::default());
        let mut permit = pool.try_enter().expect("room again");
        assert_eq!(permit.take(), Some(2));
        drop(permit);
        assert_eq!(
            pool.usage().idle,
            1,
            "what was taken and not put back is gone"
        );
        drop(pool.try_enter());
        assert_eq!(pool.usage().idle, 1, "what was not taken stays");
    }

    #[test]
    fn calls_wait_in_order_up_to_a_bound() {
        let pool = pool(1, 2);
        let running = pool.try_enter().expect("the first");
        let (mut a, mut b, mut c) = (pin!(pool.enter()), pin!(pool.enter()), pin!(pool.enter()));
        assert!(poll(a.as_mut()).is_pending());
        assert!(poll(b.as_mut()).is_pending());
        assert!(matches!(poll(c.as_mut()), Poll::Ready(Err(Refused::Busy))));
        drop(running);
        assert!(poll(b.as_mut()).is_pending(), "the one before is first");
        assert!(pool.try_enter().is_none(), "nobody overtakes");
        let Poll::Ready(Ok(permit)) = poll(a.as_mut()) else {
            panic!("the turn was handed over");
        };
        drop(permit);
        assert!(matches!(poll(b.as_mut()), Poll::Ready(Ok(_))));
    }

    #[test]
    fn a_dropped_waiter_passes_its_turn_on() {
        let pool = pool(1, 2);
        let running = pool.try_enter().expect("the first");
        let mut b = Box::pin(pool.enter());
        let mut c = Box::pin(pool.enter());
        assert!(poll(b.as_mut()).is_pending());
        assert!(poll(c.as_mut()).is_pending());
        drop(running);
        drop(b);
        assert!(matches!(poll(c.as_mut()), Poll::Ready(Ok(_))));
        drop(c);
        assert_eq!(pool.usage().running, 0);
    }

    #[test]
    fn waiting_calls_can_be_refused() {
        let pool = pool(1, 2);
        let running = pool.try_enter().expect("the first");
        let mut waiting = pin!(pool.enter());
        assert!(poll(waiting.as_mut()).is_pending());
        pool.cancel_waiting();
        assert!(matches!(
            poll(waiting.as_mut()),
            Poll::Ready(Err(Refused::Cancelled))
        ));
        drop(running);
        assert_eq!(pool.usage().running, 0);
    }

    #[test]
    fn idle_things_grow_old_down_to_the_minimum() {
        let pool = pool(4, 0);
        let start = Moment::default();
        for item in 0..3 {
            assert_eq!(pool.stock(item, start), None);
        }
        let half = start.after(Duration::from_millis(500));
        let end = start.after(Duration::from_secs(1));
        assert_eq!(pool.trim(half), (vec![], Some(end)));
        assert_eq!(pool.trim(end), (vec![0, 1], None));
        assert_eq!(pool.usage().idle, 1);
        assert_eq!(pool.drain(), vec![2]);
    }
}
