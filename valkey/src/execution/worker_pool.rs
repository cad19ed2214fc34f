//! Calls off the server's main thread: a few threads that take turns with them.
//!
//! A call that waits leaves its thread, and one that computes leaves it every tick, so that many
//! long calls share few threads; the [run queue](ferrite_runtime::scheduling::run_queue) says which
//! is next. Only a call that keeps the server's lock stays on its thread.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context as Waking, Poll, Wake, Waker};

use ferrite_runtime::scheduling::run_queue::{RunQueue, RunState, Runnable};
use parking_lot::{Condvar, Mutex};

use crate::api::panic_guard::guard;
use crate::execution::runner::{Run, Runner};
use crate::transaction::call::{Call, CallState};
use crate::transaction::current_call::{CurrentCall, LockedContext, enter};

/// Takes the reply of a call that is over.
pub(crate) type Deliver = Box<dyn FnOnce(Arc<Call>, Vec<u8>) + Send>;

/// The reply of a call that panicked in the module's own code.
const BROKEN: &[u8] =
    b"-ERR the call failed inside the module, which is a bug; the server's log tells more\r\n";

/// Work that can be cancelled.
pub(crate) trait Cancel: Send + Sync {
    /// Ends the work soon, without a reply. Any thread may call it.
    fn cancel(self: Arc<Self>);
}

/// Cancels one piece of work, such as a call of the pool, if it is not over.
#[derive(Clone)]
pub(crate) struct CancelHandle(Weak<dyn Cancel>);

impl CancelHandle {
    /// A handle for this work.
    pub(crate) fn of<C: Cancel + 'static>(work: &Arc<C>) -> Self {
        let work: Weak<C> = Arc::downgrade(work);
        Self(work)
    }

    /// Cancels the work.
    pub(crate) fn cancel(&self) {
        if let Some(work) = self.0.upgrade() {
            work.cancel();
        }
    }
}

/// Ends the call at the end of its meter's slice, or at once if it waits, and rolls it back.
impl Cancel for Task {
    fn cancel(self: Arc<Self>) {
        self.cancelled.store(true, Ordering::Release);
        self.wake();
    }
}

/// One call of the pool.
struct Task {
    call: Arc<Call>,
    state: RunState,
    /// True if the reply is not wanted any more.
    cancelled: AtomicBool,
    /// `None` once the call is over.
    work: Mutex<Option<Work>>,
    pool: &'static Pool,
}

struct Work {
    runner: Runner,
    state: RefCell<CallState>,
    locked: LockedContext,
    deliver: Deliver,
}

impl Runnable for Task {
    fn run_state(&self) -> &RunState {
        &self.state
    }
}

/// The threads, and the calls that wait for one.
pub(crate) struct Pool {
    queue: Mutex<Queue>,
    /// Notified when a call was put into the queue.
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: RunQueue<Task>,
    /// Number of threads.
    threads: usize,
    /// Number of threads that wait for a call.
    idle: usize,
}

/// No thread could be started for the pool.
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

    /// Starts a thread for one more call if all are busy and there are fewer than `threads_max`.
    ///
    /// # Errors
    ///
    /// If the pool has no thread at all and none can be started.
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

    /// Runs a call to its end and gives its reply to `deliver`, on a thread of the pool.
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
            state: RunState::new(),
            cancelled: AtomicBool::new(false),
            work: Mutex::new(Some(Work {
                runner,
                state,
                locked,
                deliver,
            })),
            pool: self,
        });
        let cancel = CancelHandle::of(&task);
        self.queue.lock().tasks.push_new(task);
        self.ready.notify_one();
        cancel
    }

    fn work(&self) {
        loop {
            let task = {
                let mut queue = self.queue.lock();
                loop {
                    if let Some(task) = queue.tasks.pop() {
                        break task;
                    }
                    queue.idle += 1;
                    self.ready.wait(&mut queue);
                    queue.idle -= 1;
                }
            };
            // A panic of the call's own code is caught in `turn`.
            guard("a call's thread", (), || task.turn());
        }
    }
}

impl Task {
    /// Polls the call until it waits or has used up its time slice.
    fn turn(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut waking = Waking::from_waker(&waker);
        let mut slot = self.work.lock();
        let Some(work) = slot.as_mut() else { return };
        loop {
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
                Poll::Pending if work.locked.keeps_lock() && !self.state.is_woken() => {
                    // It waits for something, and must not stop the server meanwhile.
                    work.locked.release_lock();
                }
                Poll::Pending => {}
            }
            if work.locked.keeps_lock() {
                // It goes on at once, because the server waits for the lock.
                self.state.run_again();
                continue;
            }
            drop(slot);
            if !self.state.end_turn_unwoken() {
                let pool = self.pool;
                if pool.queue.lock().tasks.end_turn(self) {
                    pool.ready.notify_one();
                }
            }
            return;
        }
    }

    fn end(&self, work: Option<Work>, reply: Vec<u8>) {
        self.state.finish();
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
            // A transaction that is still open is rolled back as the runner is dropped, which needs
            // the server's data.
            let current = CurrentCall::locked(&self.call, &state, &locked);
            enter(&current, || drop(runner));
        });
        drop(locked);
        deliver(Arc::clone(&self.call), reply);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.state.wake_running() {
            return;
        }
        if self.pool.queue.lock().tasks.wake(&self) {
            self.pool.ready.notify_one();
        }
    }
}
