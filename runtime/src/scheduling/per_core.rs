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
const SHARDS_MAX: usize = 64;

/// Lanes of a thing that all threads may use at once: a power of two, and twice as many as cores,
/// so that threads easily find one for themselves.
static COUNT: LazyLock<usize> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (2 * cores).next_power_of_two().min(SHARDS_MAX)
});

/// Threads that have used a lane.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// What stands for "not chosen yet".
const NOWHERE: usize = usize::MAX;

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(NOWHERE) };
}

/// The lane of this thread, of as many as there may be.
#[inline]
fn current() -> usize {
    let shard = SHARD.get();
    if shard == NOWHERE { choose() } else { shard }
}

#[cold]
fn choose() -> usize {
    let shard = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS_MAX;
    SHARD.set(shard);
    shard
}

/// Some `T`s, of which each thread uses one.
#[derive(Debug)]
pub struct PerCore<T> {
    shards: Box<[Shard<T>]>,
}

/// A `T` with lines of the processor's cache to itself; two are fetched at once.
#[derive(Debug)]
#[repr(align(128))]
struct Shard<T>(T);

impl<T> PerCore<T> {
    /// As many as are useful where at most `users_max` use them at once, a power of two; `make` gets
    /// each one's index and their count.
    #[must_use]
    pub fn new(users_max: usize, make: impl Fn(usize, usize) -> T) -> Self {
        let useful = users_max.checked_next_power_of_two().unwrap_or(SHARDS_MAX);
        let count = useful.min(*COUNT);
        Self {
            shards: (0..count).map(|index| Shard(make(index, count))).collect(),
        }
    }

    /// The one that this thread uses now.
    #[must_use]
    #[inline]
    pub fn local(&self) -> &T {
        &self.shards[self.index()].0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.shards.iter().map(|shard| &shard.0)
    }

    /// All of them, this thread's own first.
    pub fn iter_from_local(&self) -> impl Iterator<Item = &T> {
        let (before, from) = self.shards.split_at(self.index());
        from.iter().chain(before).map(|shard| &shard.0)
    }

    /// The count of lanes is a power of two.
    #[inline]
    fn index(&self) -> usize {
        current() & (self.shards.len() - 1)
    }
}

impl<T> PerCore<Mutex<T>> {
    /// Locks the one that this thread uses.
    ///
    /// A thread that finds it locked uses the next from then on: two threads that began with the
    /// same one part at their first collision.
    #[inline]
    pub fn lock_local(&self) -> MutexGuard<'_, T> {
        self.local().try_lock().unwrap_or_else(|| self.lock_next())
    }

    #[cold]
    fn lock_next(&self) -> MutexGuard<'_, T> {
        // Where there are fewer lanes than usual, the next one is as busy, and the thread would
        // wander for nothing in all that has more.
        if self.shards.len() == *COUNT {
            SHARD.set((current() + 1) % SHARDS_MAX);
        }
        self.local().lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use parking_lot::Mutex;

    use super::{COUNT, PerCore};

    #[test]
    fn there_are_no_more_than_are_of_use() {
        let one = PerCore::new(1, |index, count| (index, count));
        assert_eq!(one.iter().collect::<Vec<_>>(), [&(0, 1)]);
        assert_eq!(PerCore::new(0, |_, _| ()).iter().count(), 1);
        let most = PerCore::new(usize::MAX, |_, _| ());
        assert!(most.iter().count().is_power_of_two());
        assert_eq!(most.iter().count(), *COUNT);
    }

    #[test]
    fn a_thread_sees_all_of_them_once_and_its_own_first() {
        let shards = PerCore::new(usize::MAX, |index, _| index);
        let mut seen: Vec<_> = shards.iter_from_local().copied().collect();
        assert_eq!(seen.first(), Some(shards.local()));
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..*COUNT));
    }

    #[test]
    fn a_thread_that_collides_moves_on() {
        let shards = PerCore::new(usize::MAX, |index, _| Mutex::new(index));
        let both = Barrier::new(2);
        thread::scope(|scope| {
            let local = *shards.local().lock();
            let held = shards.local().lock();
            let (both, shards) = (&both, &shards);
            let other = scope.spawn(move || {
                super::SHARD.set(local);
                both.wait();
                *shards.lock_local()
            });
            both.wait();
            let moved = other.join().expect("the other lane is free");
            assert_eq!(moved, (local + 1) % *COUNT);
            drop(held);
        });
    }
}
