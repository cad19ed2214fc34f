//! The process's one ticker: a thread that wakes once a millisecond while calls run.
//!
//! It keeps a coarse clock for callers that must not read the real one, wakes sleepers, and drops
//! idle instances. Guests do not depend on it: their meter checks deadlines and kills.
//!
//! # Parking
//!
//! A ticker that never stopped would wake an idle server a thousand times a second. It parks itself
//! when, for `QUIET_TICKS`, no call has started and none is running; the next call wakes it. That
//! may cost the call only the check of one flag, and must not lose a wake-up: the coarse clock
//! would stand still for a call that runs while the ticker sleeps. The order that ensures it:
//!
//! - a call first enters its function's pool, which counts it under one of the pool's locks, and
//!   only then reads the flag (`ensure_running`);
//! - the ticker first sets the flag, and only then asks every pool for its count, under all of
//!   those locks (`TickListener::activity`).
//!
//! The second one to take the lock sees what the first did: either the ticker sees the
//! call and does not park, or the call sees the flag and wakes the ticker. Sleepers do the same
//! under the ticker's own lock.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Longest run of a guest before it yields to others, and period of the ticker.
pub const TICK: Duration = Duration::from_millis(1);

/// Ticks without any call after which the ticker parks itself.
pub(crate) const QUIET_TICKS: u32 = 64;

/// Ticks between two rounds of dropping idle instances, while the ticker runs.
const TRIM_TICKS: u32 = 1024;

/// An engine that the ticker serves while calls run.
pub(crate) trait TickListener: Send + Sync {
    /// Returns the current activity, counted under the locks that calls take when they start.
    fn activity(&self) -> Activity;

    /// Drops instances that have been idle for too long at `now`. Returns when to do so again.
    fn trim(&self, now: Moment) -> Option<Moment>;
}

/// The activity of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Activity {
    /// Number of calls that run now.
    pub running: usize,
    /// Number of calls that have started; wraps.
    pub started: u64,
}

/// A moment on the process's monotonic clock, in whole microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Makes a moment from its microseconds; see [`Moment::micros`].
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the clock's origin, about the start of the process.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Reads the real clock.
    #[must_use]
    pub fn now() -> Self {
        let elapsed = TICKER.origin.elapsed();
        Self(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    /// Returns the moment of the last tick, at most a tick ago while calls run. Reads no clock.
    #[must_use]
    pub fn coarse() -> Self {
        Self(TICKER.now.load(Ordering::Relaxed))
    }

    /// Returns the time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Returns the moment `duration` after this one.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

struct Ticker {
    origin: Instant,
    /// The last tick's [`Moment`]; brought up to date before `parked` is cleared.
    now: AtomicU64,
    parked: AtomicBool,
    thread: OnceLock<Thread>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listeners: Vec<Weak<dyn TickListener>>,
    sleepers: Vec<Sleeper>,
    next_sleeper: u64,
}

struct Sleeper {
    id: u64,
    until: Moment,
    waker: Waker,
}

static TICKER: LazyLock<Ticker> = LazyLock::new(|| Ticker {
    origin: Instant::now(),
    now: AtomicU64::new(0),
    parked: AtomicBool::new(false),
    thread: OnceLock::new(),
    state: Mutex::new(State::default()),
});

/// Adds a listener that the ticker serves until it is dropped. Starts the thread the first time.
///
/// # Errors
///
/// Fails if the operating system gives no thread.
pub(crate) fn register(listener: Weak<dyn TickListener>) -> std::io::Result<()> {
    let mut state = TICKER.state.lock();
    if TICKER.thread.get().is_none() {
        let handle = thread::Builder::new()
            .name("ferrite-ticker".to_owned())
            .spawn(|| TICKER.run())?;
        // Under the lock, so that only one thread starts.
        TICKER.thread.get_or_init(|| handle.thread().clone());
    }
    state.listeners.push(listener);
    drop(state);
    ensure_running();
    Ok(())
}

/// Wakes the ticker if it is parked. A call does this after it is counted, before guest code runs.
#[inline]
pub(crate) fn ensure_running() {
    // Acquire pairs with the release in `wake`: a thread that reads the cleared flag reads the new
    // clock.
    if TICKER.parked.load(Ordering::Acquire) {
        TICKER.wake();
    }
}

/// Returns a future that is ready at `until` or up to a few ticks later, on any executor.
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

/// Wakes `waker` once, at `until` or up to a few ticks later, unless the alarm is dropped before.
pub(crate) fn wake_at(until: Moment, waker: Waker) -> Alarm {
    let mut state = TICKER.state.lock();
    let id = state.next_sleeper;
    state.next_sleeper += 1;
    state.sleepers.push(Sleeper { id, until, waker });
    drop(state);
    ensure_running();
    Alarm { id }
}

/// See [`wake_at`].
#[derive(Debug)]
pub(crate) struct Alarm {
    id: u64,
}

impl Alarm {
    /// Returns true if the alarm is still pending; it then wakes `waker` instead.
    fn is_pending(&self, waker: &Waker) -> bool {
        let mut state = TICKER.state.lock();
        let mut sleepers = state.sleepers.iter_mut();
        match sleepers.find(|sleeper| sleeper.id == self.id) {
            Some(sleeper) => {
                sleeper.waker.clone_from(waker);
                true
            }
            None => false,
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut state = TICKER.state.lock();
        state.sleepers.retain(|sleeper| sleeper.id != self.id);
    }
}

impl Ticker {
    #[cold]
    fn wake(&self) {
        // The clock stood still while the ticker slept. Set it before the flag is cleared, so that no
        // call starts in the past.
        self.now.fetch_max(Moment::now().0, Ordering::Relaxed);
        if self.parked.swap(false, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn run(&self) {
        let mut quiet = QuietDetector::default();
        let mut trim_in = TRIM_TICKS;
        loop {
            thread::sleep(TICK);
            let now = self.tick();
            trim_in -= 1;
            if trim_in == 0 {
                trim_in = TRIM_TICKS;
                self.trim(now);
            }
            if quiet.tick(|| self.activity()) {
                self.park(&quiet);
                quiet = QuietDetector::default();
            }
        }
    }

    fn tick(&self) -> Moment {
        let now = Moment::now();
        self.now.fetch_max(now.0, Ordering::Relaxed);
        let mut due = Vec::new();
        {
            let mut state = self.state.lock();
            state
                .listeners
                .retain(|listener| listener.strong_count() > 0);
            let mut index = 0;
            while let Some(sleeper) = state.sleepers.get(index) {
                if sleeper.until <= now {
                    due.push(state.sleepers.swap_remove(index).waker);
                } else {
                    index += 1;
                }
            }
        }
        // Outside the lock: wakers run code of the executor.
        for waker in due {
            waker.wake();
        }
        now
    }

    /// Returns the activity of all engines together; `None` while there are sleepers.
    fn activity(&self) -> Option<Activity> {
        let mut sum = Activity::default();
        for listener in self.served()? {
            let activity = listener.activity();
            sum.running += activity.running;
            sum.started = sum.started.wrapping_add(activity.started);
        }
        Some(sum)
    }

    fn served(&self) -> Option<Vec<std::sync::Arc<dyn TickListener>>> {
        let state = self.state.lock();
        state
            .sleepers
            .is_empty()
            .then(|| state.listeners.iter().filter_map(Weak::upgrade).collect())
    }

    fn trim(&self, now: Moment) -> Option<Moment> {
        let listeners: Vec<_> = {
            let state = self.state.lock();
            state.listeners.iter().filter_map(Weak::upgrade).collect()
        };
        listeners
            .iter()
            .filter_map(|listener| listener.trim(now))
            .min()
    }

    /// Sleeps until the flag is cleared, unless there was activity since `quiet` last checked.
    fn park(&self, quiet: &QuietDetector) {
        // Set the flag before the last check; the module's documentation says why.
        self.parked.store(true, Ordering::SeqCst);
        if self.activity() != Some(quiet.last) {
            self.parked.store(false, Ordering::SeqCst);
            return;
        }
        while self.parked.load(Ordering::Acquire) {
            let now = Moment::now();
            match self.trim(now) {
                Some(next) => thread::park_timeout(next.since(now).max(TICK)),
                None => thread::park(),
            }
        }
    }
}

/// Detects that there was no activity for `QUIET_TICKS`.
#[derive(Default)]
struct QuietDetector {
    ticks: u32,
    last: Activity,
}

impl QuietDetector {
    /// Counts a tick. Returns true if two checks in a row, `QUIET_TICKS` apart, saw no activity.
    fn tick(&mut self, look: impl FnOnce() -> Option<Activity>) -> bool {
        self.ticks += 1;
        if self.ticks < QUIET_TICKS {
            return false;
        }
        self.ticks = 0;
        let Some(activity) = look() else {
            return false;
        };
        let quiet = activity.running == 0 && activity == self.last;
        self.last = activity;
        quiet
    }
}

#[cfg(test)]
mod tests {
    use super::{Activity, QUIET_TICKS, QuietDetector};

    fn look(quiet: &mut QuietDetector, activity: Activity) -> bool {
        for _ in 1..QUIET_TICKS {
            assert!(!quiet.tick(|| panic!("looks only every {QUIET_TICKS} ticks")));
        }
        quiet.tick(|| Some(activity))
    }

    #[test]
    fn quiet_takes_a_whole_round_without_a_start_and_without_a_running_call() {
        let mut quiet = QuietDetector::default();
        let idle = Activity {
            running: 0,
            started: 7,
        };
        let busy = Activity {
            running: 1,
            started: 8,
        };
        assert!(!look(&mut quiet, idle), "seven calls started before");
        assert!(look(&mut quiet, idle));
        assert!(!look(&mut quiet, busy));
        assert!(!look(&mut quiet, busy), "one still runs");
        assert!(!look(
            &mut quiet,
            Activity {
                running: 0,
                started: 8
            }
        ));
    }
}
