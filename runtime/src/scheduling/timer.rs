//! The process's one timer: a thread that wakes sleepers and lets idle instances go.
//!
//! It sleeps until the first of these is due, so short calls neither wake it nor are interrupted by
//! it. Guests do not depend on it: their meter checks deadlines and kills.
//!
//! # Idle instances
//!
//! A call that ends reads no clock. The instance that it leaves is dated by the timer, the first
//! time that the timer finds it idle; the timer looks [`LOOKS`] times within the time that an
//! instance may be idle.
//!
//! While nothing is idle, the timer does not look at all, and the next call that leaves an instance
//! wakes it. That may cost a call only the check of one flag, and must not lose a wake-up. The order
//! that ensures it:
//!
//! - a call first puts the instance into its pool, under one of the pool's locks, and only then
//!   reads the flag ([`watch_idle`]);
//! - the timer first clears the flag, and only then looks into every pool, under all of those locks
//!   ([`IdleOwner::trim`]). It sets the flag if it found something.
//!
//! The second one to take the lock sees what the first did: either the timer sees the instance, or
//! the call sees that the flag is cleared.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};

use parking_lot::Mutex;

use crate::scheduling::moment::Moment;

/// Looks at an idle instance within the time that it may be idle. It goes at the first look after
/// that time has passed since the first look that found it.
pub(crate) const LOOKS: u32 = 4;

/// Something that keeps idle instances.
pub(crate) trait IdleOwner: Send + Sync {
    /// Drops the instances that have been idle for too long at `now`, and dates those that became
    /// idle since the last look. Returns when to look again; `None` if nothing is idle.
    fn trim(&self, now: Moment) -> Option<Moment>;
}

struct Timer {
    /// True while the timer looks for idle instances by itself.
    watching: AtomicBool,
    thread: OnceLock<Thread>,
    state: Mutex<State>,
}

struct State {
    owners: Vec<Weak<dyn IdleOwner>>,
    sleepers: BTreeMap<SleeperKey, Waker>,
    next_sleeper: u64,
}

/// Time at which a sleeper is due, and a number that distinguishes it from others.
type SleeperKey = (Moment, u64);

static TIMER: Timer = Timer {
    watching: AtomicBool::new(false),
    thread: OnceLock::new(),
    state: Mutex::new(State {
        owners: Vec::new(),
        sleepers: BTreeMap::new(),
        next_sleeper: 0,
    }),
};

/// Adds an owner of idle instances that the timer serves until it is dropped. Starts the thread the
/// first time.
///
/// # Errors
///
/// Fails if the operating system gives no thread.
pub(crate) fn register(owner: Weak<dyn IdleOwner>) -> std::io::Result<()> {
    let mut state = TIMER.state.lock();
    if TIMER.thread.get().is_none() {
        let handle = thread::Builder::new()
            .name("ferrite-timer".to_owned())
            .spawn(|| TIMER.run())?;
        // Under the lock, so that only one thread starts.
        TIMER.thread.get_or_init(|| handle.thread().clone());
    }
    state.owners.push(owner);
    Ok(())
}

/// Makes sure that the timer looks for idle instances. A call does this after it has left one.
#[inline]
pub(crate) fn watch_idle() {
    if !TIMER.watching.load(Ordering::Acquire) {
        TIMER.watch();
    }
}

/// Returns a future that is ready at `until` or soon after, on any executor.
pub(crate) fn sleep_until(until: Moment) -> Sleep {
    Sleep { until, alarm: None }
}

/// See [`sleep_until`].
#[derive(Debug)]
pub(crate) struct Sleep {
    until: Moment,
    alarm: Option<Alarm>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Moment::now() >= self.until {
            return Poll::Ready(());
        }
        let waker = context.waker();
        match &self.alarm {
            Some(alarm) if alarm.is_pending(waker) => {}
            _ => self.alarm = Some(wake_at(self.until, waker.clone())),
        }
        Poll::Pending
    }
}

/// Wakes `waker` once, at `until` or soon after, unless the alarm is dropped before.
pub(crate) fn wake_at(until: Moment, waker: Waker) -> Alarm {
    let mut state = TIMER.state.lock();
    let key = (until, state.next_sleeper);
    state.next_sleeper += 1;
    state.sleepers.insert(key, waker);
    let is_first = state.sleepers.keys().next() == Some(&key);
    drop(state);
    if is_first {
        TIMER.unpark();
    }
    Alarm { key }
}

/// See [`wake_at`].
#[derive(Debug)]
pub(crate) struct Alarm {
    key: SleeperKey,
}

impl Alarm {
    /// Returns true if the alarm is still pending; it then wakes `waker` instead.
    fn is_pending(&self, waker: &Waker) -> bool {
        match TIMER.state.lock().sleepers.get_mut(&self.key) {
            Some(pending) => {
                pending.clone_from(waker);
                true
            }
            None => false,
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // Dropped after the lock is released: a waker may run code of the executor.
        let waker = TIMER.state.lock().sleepers.remove(&self.key);
        drop(waker);
    }
}

impl Timer {
    #[cold]
    fn watch(&self) {
        if !self.watching.swap(true, Ordering::AcqRel) {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn run(&self) {
        let mut look_at = None;
        loop {
            let now = Moment::now();
            let next_sleeper = self.wake_due(now);
            let look = match look_at {
                Some(at) => at <= now,
                // Set by a call: something became idle.
                None => self.watching.load(Ordering::Acquire),
            };
            if look {
                look_at = self.trim(now);
            }
            match [next_sleeper, look_at].into_iter().flatten().min() {
                Some(next) => thread::park_timeout(next.since(now)),
                None => thread::park(),
            }
        }
    }

    /// Wakes the sleepers that are due. Returns when the next one is.
    fn wake_due(&self, now: Moment) -> Option<Moment> {
        let mut due = Vec::new();
        let next = {
            let mut state = self.state.lock();
            while let Some(first) = state.sleepers.first_entry()
                && first.key().0 <= now
            {
                due.push(first.remove());
            }
            state.sleepers.keys().next().map(|&(until, _)| until)
        };
        // Outside the lock: wakers run code of the executor.
        for waker in due {
            waker.wake();
        }
        next
    }

    /// Lets old instances go. Returns when to look again.
    fn trim(&self, now: Moment) -> Option<Moment> {
        // Before the look; the module's documentation says why.
        self.watching.store(false, Ordering::Release);
        let next = self
            .owners()
            .iter()
            .filter_map(|owner| owner.trim(now))
            .min();
        if next.is_some() {
            self.watching.store(true, Ordering::Release);
        }
        next
    }

    fn owners(&self) -> Vec<Arc<dyn IdleOwner>> {
        let mut state = self.state.lock();
        state.owners.retain(|owner| owner.strong_count() > 0);
        state.owners.iter().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    /// Reports each look, and has something idle at the first few.
    struct Looks {
        seen: Sender<()>,
        idle_for: Mutex<u32>,
    }

    impl IdleOwner for Looks {
        fn trim(&self, now: Moment) -> Option<Moment> {
            self.seen.send(()).expect("the test still listens");
            let mut left = self.idle_for.lock();
            *left = left.checked_sub(1)?;
            Some(now.after(Duration::from_millis(1)))
        }
    }

    #[test]
    fn the_timer_looks_while_something_is_idle_and_again_when_a_call_leaves_something() {
        let (seen, looks) = channel();
        let owner = Arc::new(Looks {
            seen,
            idle_for: Mutex::new(3),
        });
        let weak: Weak<Looks> = Arc::downgrade(&owner);
        register(weak).expect("a thread");
        watch_idle();
        // Three looks that find something, and the one that finds nothing.
        for _ in 0..4 {
            looks.recv().expect("a look");
        }
        while TIMER.watching.load(Ordering::Acquire) {
            thread::yield_now();
        }
        watch_idle();
        looks.recv().expect("a look for what was left");
    }

    struct Reports(Mutex<Sender<u64>>, u64);

    impl Wake for Reports {
        fn wake(self: Arc<Self>) {
            self.0.lock().send(self.1).expect("the test still listens");
        }
    }

    fn start() -> (Sender<u64>, Receiver<u64>) {
        let none: Weak<Looks> = Weak::new();
        register(none).expect("a thread");
        channel()
    }

    #[test]
    fn sleepers_wake_in_the_order_of_their_times() {
        let (woken, order) = start();
        let now = Moment::now();
        let alarms: Vec<_> = [30_u64, 10, 20]
            .map(|wait| {
                let waker = Waker::from(Arc::new(Reports(Mutex::new(woken.clone()), wait)));
                wake_at(now.after(Duration::from_millis(wait)), waker)
            })
            .into();
        let order: Vec<_> = order.iter().take(3).collect();
        assert_eq!(order, [10, 20, 30]);
        assert!(Moment::now().since(now) >= Duration::from_millis(30));
        drop(alarms);
    }

    #[test]
    fn a_dropped_alarm_wakes_nobody() {
        let (woken, order) = start();
        let now = Moment::now();
        let [first, second] = [1_u64, 2].map(|wait| {
            let waker = Waker::from(Arc::new(Reports(Mutex::new(woken.clone()), wait)));
            wake_at(now.after(Duration::from_millis(20 * wait)), waker)
        });
        drop(first);
        assert_eq!(order.recv(), Ok(2));
        drop(second);
        drop(woken);
        assert!(order.recv().is_err(), "nothing else was sent");
    }
}
