//! Threads that wait for what is due and hand it to the pool: events, schedules, and requests of the outbox.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Waking, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::api::panic_guard::guard;
use crate::execution::blocked_client::locked_context_of_server;
use crate::execution::job::Job;
use crate::execution::runner::Run;
use crate::module::Module;

/// Pause if the operating system gives no thread.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts the threads, once.
pub(crate) fn start(module: &'static Module) {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if STARTED.swap(true, Ordering::Relaxed) {
        return;
    }
    let events = spawn("ferrite-events", move || {
        let due = Box::new(block_on(module.runtime.due_event()));
        run(module, due.database(), Job::Event(due));
    });
    let schedules = spawn("ferrite-clock", move || {
        let due = Box::new(block_on(module.runtime.due_schedule()));
        run(module, due.database(), Job::Schedule(due));
    });
    let requests = spawn("ferrite-outbox", move || {
        let due = Box::new(block_on(module.runtime.due_request()));
        run(module, 0, Job::Request(due));
    });
    if let Err(error) = events.and(schedules).and(requests) {
        tracing::error!(%error, "triggers, schedules or the outbox do not run: the operating system gives no thread");
    }
}

fn spawn(name: &str, turn: impl Fn() + Send + 'static) -> std::io::Result<()> {
    let work = move || {
        loop {
            guard("what is due", (), &turn);
        }
    };
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map(drop)
}

/// Runs work of the server itself in the pool.
fn run(module: &'static Module, database: u32, job: Job) {
    if let Err(error) = module.pool.prepare(module.options.threads) {
        tracing::warn!(%error, "a function that is due has to wait");
        thread::sleep(PAUSE);
        // What is due is due again once it is dropped.
        return;
    }
    let Some(locked) = locked_context_of_server() else {
        return;
    };
    locked.with_lock(|context| context.select(database));
    let run = Run::without_command(&module.runtime, database, job);
    module.pool.run(run, locked, Box::new(|_, _| {}));
}

/// Polls a future to its end on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut waking = Waking::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut waking) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
