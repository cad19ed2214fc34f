//! Things of which every thread has its own copy, or nearly: counts, and locks that would be taken
//! for every call.
//!
//! What two cores write in turn costs each of them a transfer of the cache line, which takes longer
//! than a small call. So such a thing is made several times over, more often than there are cores,
//! and a thread uses one of them. Which one is nothing to rely on: threads may share, and move.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::{Mutex, MutexGuard};

/// The most lanes there are of anything; a power of two.
const LANES_MAX: usize = 64;

/// Lanes of a thing that all threads may use at once: a power of two, and twice as many as cores,
/// so that threads easily find one for themselves.
static COUNT: LazyLock<usize> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (2 * cores).next_power_of_two().min(LANES_MAX)
});

/// Threads that have used a lane.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// What stands for "not chosen yet".
const NOWHERE: usize = usize::MAX;

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(NOWHERE) };
}

/// The lane of this thread, of as many as there may be.
#[inline]
fn current() -> usize {
    let lane = LANE.get();
    if lane == NOWHERE { choose() } else { lane }
}

#[cold]
fn choose() -> usize {
    let lane = THREADS.fetch_add(1, Ordering::Relaxed) % LANES_MAX;
    LANE.set(lane);
    lane
}

/// Some `T`s, of which each thread uses one.
#[derive(Debug)]
pub struct Lanes<T> {
    lanes: Box<[Lane<T>]>,
}

/// A `T` with lines of the processor's cache to itself; two are fetched at once.
#[derive(Debug)]
#[repr(align(128))]
struct Lane<T>(T);

impl<T> Lanes<T> {
    /// As many as are useful where at most `users_max` use them at once, a power of two; `make` gets
    /// each one's index and their count.
    #[must_use]
    pub fn new(users_max: usize, make: impl Fn(usize, usize) -> T) -> Self {
        let useful = users_max.checked_next_power_of_two().unwrap_or(LANES_MAX);
        let count = useful.min(*COUNT);
        Self {
            lanes: (0..count).map(|index| Lane(make(index, count))).collect(),
        }
    }

    /// The one that this thread uses now.
    #[must_use]
    #[inline]
    pub fn own(&self) -> &T {
        &self.lanes[self.index()].0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.lanes.iter().map(|lane| &lane.0)
    }

    /// All of them, this thread's own first.
    pub fn iter_from_own(&self) -> impl Iterator<Item = &T> {
        let (before, from) = self.lanes.split_at(self.index());
        from.iter().chain(before).map(|lane| &lane.0)
    }

    /// The count of lanes is a power of two.
    #[inline]
    fn index(&self) -> usize {
        current() & (self.lanes.len() - 1)
    }
}

impl<T> Lanes<Mutex<T>> {
    /// Locks the one that this thread uses.
    ///
    /// A thread that finds it locked uses the next from then on: two threads that began with the
    /// same one part at their first collision.
    #[inline]
    pub fn lock_own(&self) -> MutexGuard<'_, T> {
        self.own().try_lock().unwrap_or_else(|| self.lock_next())
    }

    #[cold]
    fn lock_next(&self) -> MutexGuard<'_, T> {
        // Where there are fewer lanes than usual, the next one is as busy, and the thread would
        // wander for nothing in all that has more.
        if self.lanes.len() == *COUNT {
            LANE.set((current() + 1) % LANES_MAX);
        }
        self.own().lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use parking_lot::Mutex;

    use super::{COUNT, Lanes};

    #[test]
    fn there_are_no_more_than_are_of_use() {
        let one = Lanes::new(1, |index, count| (index, count));
        assert_eq!(one.iter().collect::<Vec<_>>(), [&(0, 1)]);
        assert_eq!(Lanes::new(0, |_, _| ()).iter().count(), 1);
        let most = Lanes::new(usize::MAX, |_, _| ());
        assert!(most.iter().count().is_power_of_two());
        assert_eq!(most.iter().count(), *COUNT);
    }

    #[test]
    fn a_thread_sees_all_of_them_once_and_its_own_first() {
        let lanes = Lanes::new(usize::MAX, |index, _| index);
        let mut seen: Vec<_> = lanes.iter_from_own().copied().collect();
        assert_eq!(seen.first(), Some(lanes.own()));
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..*COUNT));
    }

    #[test]
    fn a_thread_that_collides_moves_on() {
        let lanes = Lanes::new(usize::MAX, |index, _| Mutex::new(index));
        let both = Barrier::new(2);
        thread::scope(|scope| {
            let own = *lanes.own().lock();
            let held = lanes.own().lock();
            let (both, lanes) = (&both, &lanes);
            let other = scope.spawn(move || {
                super::LANE.set(own);
                both.wait();
                *lanes.lock_own()
            });
            both.wait();
            let moved = other.join().expect("the other lane is free");
            assert_eq!(moved, (own + 1) % *COUNT);
            drop(held);
        });
    }
}
