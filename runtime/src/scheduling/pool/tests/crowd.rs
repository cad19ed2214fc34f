//! The pool under more threads than the machine has cores.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{EnterError, Moment, Pool, PoolOptions, poll};

const THREADS: usize = 12;

/// A pool of numbered things, and who uses what of it.
struct Crowd {
    pool: Pool<usize>,
    instances_max: usize,
    running: AtomicUsize,
    made: AtomicUsize,
    /// By number of the thing.
    used: Vec<AtomicBool>,
}

impl Crowd {
    fn new(instances_max: usize, waiting_max: usize) -> Self {
        Self {
            pool: Pool::new(PoolOptions {
                instances_min: 0,
                instances_max,
                waiting_max,
                idle_timeout: Duration::ZERO,
            }),
            instances_max,
            running: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
            used: (0..THREADS * ROUNDS)
                .map(|_| AtomicBool::new(false))
                .collect(),
        }
    }

    /// One call from beginning to end, of which every third loses its thing, or leaves it unused.
    fn call(&self, round: usize) -> Result<(), EnterError> {
        let mut permit = pollster::block_on(self.pool.enter())?;
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(running <= self.instances_max, "{running} calls at once");
        if round.is_multiple_of(3) {
            thread::yield_now();
        }
        if !round.is_multiple_of(7) {
            let thing = permit
                .take()
                .unwrap_or_else(|| self.made.fetch_add(1, Ordering::SeqCst));
            let used = self.used[thing].swap(true, Ordering::SeqCst);
            assert!(!used, "two calls have the same thing");
            thread::yield_now();
            self.used[thing].store(false, Ordering::SeqCst);
            self.running.fetch_sub(1, Ordering::SeqCst);
            if round % 3 != 1 {
                permit.put_back(thing);
            }
        } else {
            self.running.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Checks that nothing was lost: every permit is back, and no call waits.
    fn assert_quiet(&self) {
        let usage = self.pool.usage();
        assert_eq!((usage.running, usage.waiting), (0, 0));
        assert!(usage.idle <= self.instances_max, "{usage:?}");
        let permits: Vec<_> = (0..self.instances_max)
            .map(|_| self.pool.try_enter().expect("a turn for each"))
            .collect();
        assert!(self.pool.try_enter().is_none());
        drop(permits);
    }
}

const ROUNDS: usize = 2000;

/// Fewer, where most calls wait for another thread's turn and for the system to let them run.
const ROUNDS_THAT_WAIT: usize = 200;

fn in_parallel(each: impl Fn(usize) + Sync) {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for index in 0..THREADS {
            let (start, each) = (&start, &each);
            scope.spawn(move || {
                start.wait();
                each(index);
            });
        }
    });
}

#[test]
fn turns_are_neither_lost_nor_given_twice() {
    for instances_max in [1, 2, 3, 5, 64] {
        let crowd = Crowd::new(instances_max, THREADS);
        in_parallel(|_| {
            for round in 0..ROUNDS_THAT_WAIT {
                assert_eq!(crowd.call(round), Ok(()));
            }
        });
        crowd.assert_quiet();
        let started = crowd.pool.usage().started;
        assert_eq!(started, (THREADS * ROUNDS_THAT_WAIT + instances_max) as u64);
    }
}

#[test]
fn nobody_is_busy_while_there_is_a_turn_for_each() {
    let crowd = Crowd::new(THREADS, 0);
    in_parallel(|_| {
        for round in 0..ROUNDS {
            assert_eq!(crowd.call(round), Ok(()));
        }
    });
    crowd.assert_quiet();
}

#[test]
fn those_who_give_up_or_are_sent_away_take_no_turn_along() {
    let crowd = Crowd::new(2, THREADS / 2);
    let (busy, cancelled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    in_parallel(|index| {
        for round in 0..ROUNDS {
            match index % 6 {
                // Joins the queue and leaves it again, with or without having got a permit.
                0 => {
                    let mut entering = Box::pin(crowd.pool.enter());
                    let _ = poll(entering.as_mut());
                    thread::yield_now();
                }
                1 if round.is_multiple_of(8) => crowd.pool.cancel_waiting(),
                // The usage is consistent at every moment.
                1 => {
                    let usage = crowd.pool.usage();
                    assert!(usage.running + usage.idle <= 2, "{usage:?}");
                    assert!(usage.waiting <= THREADS / 2, "{usage:?}");
                    drop(crowd.pool.trim(Moment::default()));
                }
                _ => {
                    match crowd.call(round) {
                        Ok(()) => continue,
                        Err(EnterError::Busy) => &busy,
                        Err(EnterError::Cancelled) => &cancelled,
                    }
                    .fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    crowd.assert_quiet();
}

#[test]
fn what_a_call_leaves_is_found_or_the_call_sees_that_nobody_looks() {
    let pool: Pool<usize> = Crowd::new(64, 0).pool;
    drop(pool.drain());
    let watching = AtomicBool::new(true);
    let (before, after) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut saw = Vec::new();
            for _ in 0..ROUNDS {
                let permit = pool.try_enter().expect("a turn");
                before.wait();
                // As at the end of a call, and in `timer::watch_idle`.
                permit.put_back(1);
                saw.push(!watching.load(Ordering::Acquire));
                after.wait();
                before.wait();
            }
            saw
        });
        let mut found = Vec::new();
        for _ in 0..ROUNDS {
            before.wait();
            // As in `Timer::trim`.
            watching.store(false, Ordering::Release);
            let (gone, next) = pool.trim(Moment::default());
            found.push(!gone.is_empty() || next.is_some());
            after.wait();
            drop(pool.drain());
            watching.store(true, Ordering::Release);
            before.wait();
        }
        let saw = caller.join().expect("the caller ends");
        assert!(saw.iter().zip(&found).all(|(saw, found)| *saw || *found));
    });
}
