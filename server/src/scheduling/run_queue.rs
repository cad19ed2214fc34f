//! Threads that take turns at computing, so that only a few compute at a time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use ferrite_runtime::scheduling::run_queue::{RunQueue, RunState, Runnable};
use parking_lot::{Condvar, Mutex};

/// Threads that run one piece of work each, of which a fixed number compute at a time. Clones share
/// the queue.
#[derive(Clone, Debug)]
pub(crate) struct ThreadQueue(Arc<Mutex<Queue>>);

#[derive(Debug)]
struct Queue {
    /// Number of threads that may begin to compute now.
    free: usize,
    waiting: RunQueue<QueuedThread>,
}

/// A thread that takes turns with others.
#[derive(Debug)]
struct QueuedThread {
    queue: ThreadQueue,
    state: RunState,
    /// Notified when the thread's turn begins; used with the lock of the queue.
    turn_begins: Condvar,
}

impl Runnable for QueuedThread {
    fn run_state(&self) -> &RunState {
        &self.state
    }
}

impl ThreadQueue {
    /// A queue in which `threads_max` threads compute at a time.
    pub(crate) fn new(threads_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Queue {
            free: threads_max,
            waiting: RunQueue::default(),
        })))
    }

    /// Runs `work` to its end on this thread, which computes only during its turns.
    ///
    /// A turn ends when the work returns `Pending`. Work that woke itself waits behind all others;
    /// work that something else wakes, such as a deadline or a closed connection, goes first.
    pub(crate) fn run<F: Future>(&self, work: F) -> F::Output {
        let thread = Arc::new(QueuedThread {
            queue: self.clone(),
            state: RunState::new(),
            turn_begins: Condvar::new(),
        });
        let waker = Waker::from(Arc::clone(&thread));
        let mut context = Context::from_waker(&waker);
        let mut work = pin!(work);
        {
            let mut queue = self.0.lock();
            queue.waiting.push_new(Arc::clone(&thread));
            queue.begin_turns();
        }
        loop {
            let mut turn = thread.wait_for_turn();
            if let Poll::Ready(output) = work.as_mut().poll(&mut context) {
                return output;
            }
            turn.goes_on = true;
        }
    }
}

impl Queue {
    /// Lets the first threads of the queue compute, up to the number of free turns.
    fn begin_turns(&mut self) {
        while self.free > 0
            && let Some(thread) = self.waiting.pop()
        {
            self.free -= 1;
            thread.turn_begins.notify_one();
        }
    }
}

/// The right of a thread to compute now; given back when dropped.
struct ComputeTurn<'a> {
    thread: &'a Arc<QueuedThread>,
    /// True if the work wants another turn; false once it has ended or panicked.
    goes_on: bool,
}

impl QueuedThread {
    fn wait_for_turn(self: &Arc<Self>) -> ComputeTurn<'_> {
        let mut queue = self.queue.0.lock();
        while !self.state.is_running() {
            self.turn_begins.wait(&mut queue);
        }
        ComputeTurn {
            thread: self,
            goes_on: false,
        }
    }
}

impl Drop for ComputeTurn<'_> {
    fn drop(&mut self) {
        let Self { thread, goes_on } = self;
        let mut queue = thread.queue.0.lock();
        queue.free += 1;
        if *goes_on {
            queue.waiting.end_turn(Arc::clone(thread));
        } else {
            thread.state.finish();
        }
        queue.begin_turns();
    }
}

impl Wake for QueuedThread {
    fn wake(self: Arc<Self>) {
        if self.state.wake_running() {
            return;
        }
        let mut queue = self.queue.0.lock();
        if queue.waiting.wake(&self) {
            queue.begin_turns();
        }
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

    use super::ThreadQueue;

    /// Yields to the executor `times` times.
    async fn give_way(times: usize) {
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn no_more_compute_at_a_time_than_there_are_turns() {
        let threads = ThreadQueue::new(2);
        let (computing, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let mut left = 200;
                    threads.run(poll_fn(|context| {
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
        let threads = ThreadQueue::new(1);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        thread::scope(|scope| {
            let resting = scope.spawn(|| threads.run(receiver));
            // Ends only if the other thread gives up the single turn while it rests.
            threads.run(give_way(10));
            sender.send(7).unwrap();
            assert_eq!(resting.join().unwrap(), Ok(7));
        });
        // The turn is free again.
        threads.run(give_way(1));
    }

    #[test]
    fn whoever_is_woken_by_others_goes_first() {
        let threads = ThreadQueue::new(1);
        let order = Mutex::new(Vec::new());
        let (sender, mut receiver) = tokio::sync::oneshot::channel();
        let (asked, asking) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                threads.run(poll_fn(|context| {
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
            // Has the single turn once the other thread rests.
            threads.run(poll_fn(|_| {
                scope.spawn(|| threads.run(async { order.lock().push("in the queue") }));
                while threads.0.lock().waiting.is_empty() {
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
        let threads = ThreadQueue::new(1);
        let over = AtomicBool::new(false);
        let (send, wakers) = mpsc::channel();
        thread::scope(|scope| {
            let (threads, over) = (&threads, &over);
            let runs = [0, 1].map(|_| {
                let send = send.clone();
                scope.spawn(move || {
                    let mut left = 200;
                    threads.run(poll_fn(|context| {
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
        let threads = ThreadQueue::new(1);
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| threads.run(async { panic!("on purpose") }))
                .join()
        });
        assert!(panicked.is_err());
        threads.run(give_way(1));
    }
}
