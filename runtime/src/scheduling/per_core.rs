//! Values that each thread has nearly to itself: counters, and locks that every call takes.
//!
//! Two cores that write the same cache line in turn transfer the line each time, which takes longer
//! than a small call. So such a value exists in several shards, more than there are cores, and a
//! thread uses one of them. Nothing may rely on which one: threads can share a shard, and change it.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};

/// Upper bound of the number of shards; a power of two.
const SHARDS_MAX: usize = 64;

/// Number of shards of a value that all threads may use at once: a power of two, at least twice the
/// number of cores, so that threads easily find a shard for themselves.
static COUNT: LazyLock<usize> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (2 * cores).next_power_of_two().min(SHARDS_MAX)
});

/// Number of threads that have chosen a shard.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Value of [`SHARD`] on a thread that has not chosen yet.
const UNASSIGNED: usize = usize::MAX;

thread_local! {
    /// This thread's shard number, below [`SHARDS_MAX`].
    static SHARD: Cell<usize> = const { Cell::new(UNASSIGNED) };
}

#[inline]
fn current() -> usize {
    let shard = SHARD.get();
    if shard == UNASSIGNED { choose() } else { shard }
}

#[cold]
fn choose() -> usize {
    let shard = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS_MAX;
    SHARD.set(shard);
    shard
}

/// Several `T`s on cache lines of their own, of which each thread uses one.
#[derive(Debug)]
pub struct PerCore<T> {
    /// Their number is a power of two.
    shards: Box<[CachePadded<T>]>,
}

impl<T> PerCore<T> {
    /// Makes as many shards as are useful for `users_max` simultaneous users: a power of two.
    /// `make` gets the index of a shard and the number of shards.
    #[must_use]
    pub fn new(users_max: usize, make: impl Fn(usize, usize) -> T) -> Self {
        let useful = users_max.checked_next_power_of_two().unwrap_or(SHARDS_MAX);
        let count = useful.min(*COUNT);
        Self {
            shards: (0..count)
                .map(|index| CachePadded::new(make(index, count)))
                .collect(),
        }
    }

    /// Returns the shard that this thread uses now.
    #[must_use]
    #[inline]
    pub fn local(&self) -> &T {
        &self.shards[self.index()]
    }

    /// Iterates over all shards.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.shards.iter().map(|shard| &**shard)
    }

    /// Iterates over all shards, this thread's own first.
    pub fn iter_from_local(&self) -> impl Iterator<Item = &T> {
        let (before, from) = self.shards.split_at(self.index());
        from.iter().chain(before).map(|shard| &**shard)
    }

    #[inline]
    fn index(&self) -> usize {
        current() & (self.shards.len() - 1)
    }
}

impl<T> PerCore<Mutex<T>> {
    /// Locks the shard that this thread uses.
    ///
    /// A thread that finds its shard locked moves to the next one for good, so that two threads
    /// that began on the same shard part at their first collision.
    #[inline]
    pub fn lock_local(&self) -> MutexGuard<'_, T> {
        self.local().try_lock().unwrap_or_else(|| self.lock_next())
    }

    #[cold]
    fn lock_next(&self) -> MutexGuard<'_, T> {
        // With fewer shards than usual the next one is just as busy, and the thread would change
        // its shard of all other values for nothing.
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
            let moved = other.join().expect("the other shard is free");
            assert_eq!(moved, (local + 1) % *COUNT);
            drop(held);
        });
    }
}
