//! Turns that threads take at computing, so that few compute at a time however many there are.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::{Condvar, Mutex};

/// A number of turns, and who waits for one. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<Mutex<Queue>>);

#[derive(Debug)]
struct Queue {
    /// Turns that nobody has.
    free: usize,
    waiting: VecDeque<Arc<Seat>>,
}

/// A thread that takes turns with others.
#[derive(Debug)]
struct Seat {
    turns: Turns,
    /// Changed under the lock of the turns, which is taken first.
    stage: Mutex<Stage>,
    called: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is nothing to do until it is woken.
    Resting,
    /// It waits for its turn.
    Waiting,
    /// It has a turn.
    Computing,
    /// It has one and wants another after it.
    Woken,
    /// It wants none any more, whoever still wakes it.
    Over,
}

impl Turns {
    /// As many turns at a time as `count`.
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(Queue {
            free: count,
            waiting: VecDeque::new(),
        })))
    }

    /// Runs `work` to its end on this thread, which computes only while it has a turn.
    ///
    /// A turn ends where the work gives way. Work that goes on at once is the last of those that
    /// wait; what something else wakes, such as a deadline or a connection that ended, is the first.
    pub(crate) fn run<F: Future>(&self, work: F) -> F::Output {
        let seat = Arc::new(Seat {
            turns: self.clone(),
            stage: Mutex::new(Stage::Waiting),
            called: Condvar::new(),
        });
        let waker = Waker::from(Arc::clone(&seat));
        let mut context = Context::from_waker(&waker);
        let mut work = pin!(work);
        {
            let mut queue = self.0.lock();
            queue.waiting.push_back(Arc::clone(&seat));
            queue.call();
        }
        loop {
            let mut turn = seat.wait();
            if let Poll::Ready(output) = work.as_mut().poll(&mut context) {
                return output;
            }
            turn.goes_on = true;
        }
    }
}

impl Queue {
    /// Gives the turns that are free to those who wait.
    fn call(&mut self) {
        while self.free > 0
            && let Some(seat) = self.waiting.pop_front()
        {
            self.free -= 1;
            *seat.stage.lock() = Stage::Computing;
            seat.called.notify_one();
        }
    }
}

/// A turn; over when it is dropped.
struct Turn<'a> {
    seat: &'a Arc<Seat>,
    /// Whether there will be another one; not after the work's end or a panic.
    goes_on: bool,
}

impl Seat {
    fn wait(self: &Arc<Self>) -> Turn<'_> {
        let mut stage = self.stage.lock();
        // It may be woken before it comes to notice that it was called.
        while matches!(*stage, Stage::Resting | Stage::Waiting) {
            self.called.wait(&mut stage);
        }
        Turn {
            seat: self,
            goes_on: false,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Self { seat, goes_on } = self;
        let mut queue = seat.turns.0.lock();
        queue.free += 1;
        {
            let mut stage = seat.stage.lock();
            *stage = match *stage {
                _ if !*goes_on => Stage::Over,
                Stage::Woken => {
                    queue.waiting.push_back(Arc::clone(seat));
                    Stage::Waiting
                }
                _ => Stage::Resting,
            };
        }
        queue.call();
    }
}

impl Wake for Seat {
    fn wake(self: Arc<Self>) {
        let mut queue = self.turns.0.lock();
        {
            let mut stage = self.stage.lock();
            match *stage {
                Stage::Computing | Stage::Woken => {
                    *stage = Stage::Woken;
                    return;
                }
                Stage::Waiting => queue.waiting.retain(|one| !Arc::ptr_eq(one, &self)),
                Stage::Resting => *stage = Stage::Waiting,
                Stage::Over => return,
            }
        }
        queue.waiting.push_front(Arc::clone(&self));
        queue.call();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::{Poll, Waker};
    use std::thread;

    use parking_lot::Mutex;

    use super::Turns;

    /// Gives way so many times.
    async fn give_way(times: usize) {
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn no_more_compute_at_a_time_than_there_are_turns() {
        let turns = Turns::new(2);
        let (computing, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let mut left = 200;
                    turns.run(poll_fn(|context| {
                        let now = computing.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        thread::yield_now();
                        computing.fetch_sub(1, Ordering::SeqCst);
                        left -= 1;
                        if left == 0 {
                            return Poll::Ready(());
                        }
                        context.waker().wake_by_ref();
                        Poll::Pending
                    }));
                });
            }
        });
        assert_eq!(most.into_inner(), 2);
    }

    #[test]
    fn a_thread_that_rests_leaves_its_turn_to_others() {
        let turns = Turns::new(1);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        thread::scope(|scope| {
            let resting = scope.spawn(|| turns.run(receiver));
            // Ends only if the other does not keep the one turn while it rests.
            turns.run(give_way(10));
            sender.send(7).unwrap();
            assert_eq!(resting.join().unwrap(), Ok(7));
        });
        // The turn came back.
        turns.run(give_way(1));
    }

    #[test]
    fn whoever_is_woken_by_others_goes_first() {
        let turns = Turns::new(1);
        let order = Mutex::new(Vec::new());
        let (sender, mut receiver) = tokio::sync::oneshot::channel();
        let (asked, asking) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                turns.run(poll_fn(|context| {
                    let woken = Pin::new(&mut receiver).poll(context);
                    match woken {
                        Poll::Ready(_) => order.lock().push("woken"),
                        Poll::Pending => asked.send(()).unwrap(),
                    }
                    woken
                }))
            });
            asking.recv().unwrap();
            let mut sender = Some(sender);
            // Has the only turn once the other rests.
            turns.run(poll_fn(|_| {
                scope.spawn(|| turns.run(async { order.lock().push("in the queue") }));
                while turns.0.lock().waiting.is_empty() {
                    thread::yield_now();
                }
                sender.take().unwrap().send(()).unwrap();
                Poll::Ready(())
            }));
        });
        assert_eq!(order.into_inner(), ["woken", "in the queue"]);
    }

    #[test]
    fn a_wake_at_any_time_loses_no_turn() {
        let turns = Turns::new(1);
        let over = AtomicBool::new(false);
        let (send, wakers) = mpsc::channel();
        thread::scope(|scope| {
            let (turns, over) = (&turns, &over);
            let runs = [0, 1].map(|_| {
                let send = send.clone();
                scope.spawn(move || {
                    let mut left = 200;
                    turns.run(poll_fn(|context| {
                        if left == 200 {
                            send.send(context.waker().clone()).unwrap();
                        }
                        left -= 1;
                        if left == 0 {
                            return Poll::Ready(());
                        }
                        Poll::Pending
                    }));
                })
            });
            let wakers = [wakers.recv().unwrap(), wakers.recv().unwrap()];
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    wakers.iter().for_each(Waker::wake_by_ref);
                    thread::yield_now();
                }
            });
            for run in runs {
                run.join().unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_turn_comes_back_from_work_that_panics() {
        let turns = Turns::new(1);
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| turns.run(async { panic!("on purpose") }))
                .join()
        });
        assert!(panicked.is_err());
        turns.run(give_way(1));
    }
}
