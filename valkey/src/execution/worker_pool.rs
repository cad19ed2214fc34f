//! Calls beside the server's main thread: a few threads that take turns with them.
//!
//! A call that waits gives its thread up, and one that runs on gives it up every tick, so that many
//! long calls share few threads. One that something else wakes, such as its deadline or a kill, is the
//! next, before those that only go on. Only a call that keeps the server's lock stays where it is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context as Waking, Poll, Wake, Waker};

use parking_lot::{Condvar, Mutex};

use crate::api::panic_guard::guard;
use crate::execution::runner::{Run, Runner};
use crate::transaction::call::{Call, CallState};
use crate::transaction::current_call::{CurrentCall, LockedContext, enter};

/// What becomes of the reply.
pub(crate) type Deliver = Box<dyn FnOnce(Arc<Call>, Vec<u8>) + Send>;

/// The reply of a call that a bug of ours has ended.
const BROKEN: &[u8] =
    b"-ERR the call failed inside the module, which is a bug; the server's log tells more\r\n";

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const WOKEN: u8 = 3;

/// Ends one call beside the main thread.
#[derive(Clone)]
pub(crate) struct CancelHandle(Weak<Task>);

impl CancelHandle {
    /// Ends the call at its next tick, or at once if it waits; nothing of it is kept.
    pub(crate) fn cancel(&self) {
        if let Some(task) = self.0.upgrade() {
            task.cancelled.store(true, Ordering::Release);
            task.wake();
        }
    }
}

/// One call beside the main thread.
struct Task {
    call: Arc<Call>,
    state: AtomicU8,
    /// Nobody wants the reply any more.
    cancelled: AtomicBool,
    work: Mutex<Option<Work>>,
    pool: &'static Pool,
}

struct Work {
    runner: Runner,
    state: RefCell<CallState>,
    locked: LockedContext,
    deliver: Deliver,
}

/// The threads, and what waits for them.
pub(crate) struct Pool {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Arc<Task>>,
    threads: usize,
    idle: usize,
}

/// No thread could be started for a call beside the main thread.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no thread for a long call")]
pub(crate) struct NoThread(#[source] std::io::Error);

impl Pool {
    pub(crate) fn new() -> Self {
        Self {
            queue: Mutex::default(),
            ready: Condvar::new(),
        }
    }

    /// Makes sure that there is a thread for one more call.
    pub(crate) fn prepare(&'static self, threads_max: usize) -> Result<(), NoThread> {
        let mut queue = self.queue.lock();
        if queue.idle > queue.tasks.len() || queue.threads >= threads_max.max(1) {
            return Ok(());
        }
        let started = std::thread::Builder::new()
            .name("ferrite-call".to_owned())
            .spawn(|| self.work());
        match started {
            Ok(_) => queue.threads += 1,
            Err(_) if queue.threads > 0 => {}
            Err(error) => return Err(NoThread(error)),
        }
        Ok(())
    }

    /// Runs a call to its end and delivers its reply.
    pub(crate) fn run(
        &'static self,
        run: Box<Run>,
        locked: LockedContext,
        deliver: Deliver,
    ) -> CancelHandle {
        let Run {
            call,
            state,
            runner,
        } = *run;
        let task = Arc::new(Task {
            call,
            state: AtomicU8::new(QUEUED),
            cancelled: AtomicBool::new(false),
            work: Mutex::new(Some(Work {
                runner,
                state,
                locked,
                deliver,
            })),
            pool: self,
        });
        let cancel = CancelHandle(Arc::downgrade(&task));
        self.push(task);
        cancel
    }

    fn push(&self, task: Arc<Task>) {
        self.queue.lock().tasks.push_back(task);
        self.ready.notify_one();
    }

    fn push_first(&self, task: Arc<Task>) {
        self.queue.lock().tasks.push_front(task);
        self.ready.notify_one();
    }

    /// Lets a task that waits for its turn go first.
    fn promote(&self, task: &Arc<Task>) {
        let tasks = &mut self.queue.lock().tasks;
        let place = tasks.iter().position(|one| Arc::ptr_eq(one, task));
        if let Some(first) = place.and_then(|place| tasks.remove(place)) {
            tasks.push_front(first);
        }
    }

    fn work(&self) {
        loop {
            let task = {
                let mut queue = self.queue.lock();
                loop {
                    if let Some(task) = queue.tasks.pop_front() {
                        break task;
                    }
                    queue.idle += 1;
                    self.ready.wait(&mut queue);
                    queue.idle -= 1;
                }
            };
            // A panic of the call's own code was caught further in.
            guard("a call's thread", (), || task.turn());
        }
    }
}

impl Task {
    /// Polls the call until it waits or has had its turn.
    fn turn(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut waking = Waking::from_waker(&waker);
        let mut slot = self.work.lock();
        let Some(work) = slot.as_mut() else { return };
        loop {
            self.state.store(RUNNING, Ordering::Release);
            if self.cancelled.load(Ordering::Acquire) {
                let work = slot.take();
                drop(slot);
                self.end(work, Vec::new());
                return;
            }
            let polled = {
                let Work {
                    runner,
                    state,
                    locked,
                    deliver: _,
                } = &mut *work;
                let current = CurrentCall::locked(&self.call, state, locked);
                guard("a call", Poll::Ready(BROKEN.to_vec()), || {
                    runner.poll(&current, &mut waking)
                })
            };
            match polled {
                Poll::Ready(reply) => {
                    let work = slot.take();
                    drop(slot);
                    self.end(work, reply);
                    return;
                }
                // With the lock in its hands, it goes on here and now.
                Poll::Pending if work.locked.keeps_lock() => {
                    if self.state.load(Ordering::Acquire) != WOKEN {
                        // It waits for something, and must not keep the server waiting for it.
                        work.locked.release_lock();
                    }
                }
                Poll::Pending => {}
            }
            if work.locked.keeps_lock() {
                continue;
            }
            drop(slot);
            let settled =
                self.state
                    .compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if settled.is_err() {
                // It was woken meanwhile; others have their turn first.
                self.state.store(QUEUED, Ordering::Release);
                let pool = self.pool;
                pool.push(self);
            }
            return;
        }
    }

    fn end(&self, work: Option<Work>, reply: Vec<u8>) {
        let Some(Work {
            runner,
            state,
            locked,
            deliver,
        }) = work
        else {
            return;
        };
        guard("the end of a call", (), || {
            // What the call holds may be a transaction, which is rolled back where it can be.
            let current = CurrentCall::locked(&self.call, &state, &locked);
            enter(&current, || drop(runner));
        });
        drop(locked);
        deliver(Arc::clone(&self.call), reply);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        loop {
            match self.state.load(Ordering::Acquire) {
                IDLE => {
                    let queued = self.state.compare_exchange(
                        IDLE,
                        QUEUED,
                        Ordering::AcqRel,
                        Ordering::Acquire,
                    );
                    if queued.is_ok() {
                        let pool = self.pool;
                        pool.push_first(self);
                        return;
                    }
                }
                RUNNING => {
                    let noted = self.state.compare_exchange(
                        RUNNING,
                        WOKEN,
                        Ordering::AcqRel,
                        Ordering::Acquire,
                    );
                    if noted.is_ok() {
                        return;
                    }
                }
                QUEUED => {
                    self.pool.promote(&self);
                    return;
                }
                _ => return,
            }
        }
    }
}
