//! Moves long calls to threads of their own, out of the way of short requests.
//!
//! A guest yields its thread once a tick, so a short request waits up to one tick for each guest
//! before it on a thread that serves connections. A call that has used up several ticks is
//! therefore moved to a thread of its own. A call of a function that runs long commands, during which
//! it cannot yield, yields as often before it begins. Those threads take turns of one tick, and one thread for
//! each processor computes at a time, so that each call soon notices that it must end, however
//! many there are. They have a higher nice value and longer time slices than the threads that serve
//! connections: short requests go first.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use ferrite_runtime::scheduling::run_queue::{SHORT_POLLS_MAX, TURN};
use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::scheduling::run_queue::ThreadQueue;
use crate::scheduling::time_slice;

/// Number of threads for long calls; further calls stay where they are. Well below tokio's limit of
/// threads for blocking work.
const THREADS_MAX: usize = 128;

/// Added to the nice value of threads for long calls. Linux gives a nice value of 5 about a third
/// of the processor time of 0 (`sched_prio_to_weight`): less when processors are short, but enough
/// for a call to notice soon that it is to end.
const NICE_ADDED: i32 = 5;

/// The highest nice value of Linux.
const NICE_MAX: i32 = 19;

/// The threads on which long calls run.
#[derive(Debug)]
pub(crate) struct LongCalls {
    threads: Semaphore,
    queue: ThreadQueue,
    cut: watch::Sender<bool>,
}

impl Default for LongCalls {
    fn default() -> Self {
        Self {
            threads: Semaphore::new(THREADS_MAX),
            queue: ThreadQueue::new(std::thread::available_parallelism().map_or(1, usize::from)),
            cut: watch::Sender::new(false),
        }
    }
}

impl LongCalls {
    /// Ends all long calls. Their tasks cannot end them, because they block on the calls' threads.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Runs `work` here, and on a thread of its own once it is long. Returns `None` if
    /// [`cut`](Self::cut) ended it.
    ///
    /// Needs tokio's multi-threaded runtime.
    pub(crate) async fn run<F>(&self, mut work: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Unpin + Send,
    {
        let mut polls = 0;
        let short = poll_fn(|context| match Pin::new(&mut work).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                polls += 1;
                if polls < SHORT_POLLS_MAX {
                    Poll::Pending
                } else {
                    Poll::Ready(None)
                }
            }
        });
        if let Some(output) = short.await {
            return Some(output);
        }
        let Ok(_thread) = self.threads.try_acquire() else {
            return Some(work.await);
        };
        let mut cut = self.cut.subscribe();
        let until_cut = async {
            tokio::select! {
                biased;
                output = work => Some(output),
                // Fails only without a sender, which `self` holds.
                _ = cut.wait_for(|&cut| cut) => None,
            }
        };
        tokio::task::block_in_place(|| on_nicer_thread(&self.queue, until_cut))
    }
}

/// Runs `work` to its end on a new thread with a higher nice value, or on this thread if none can
/// be started.
///
/// Threads are not kept for the next call: without privileges a thread cannot lower its nice value
/// again.
fn on_nicer_thread<F: Future<Output: Send> + Send>(queue: &ThreadQueue, work: F) -> F::Output {
    let runtime = Handle::current();
    let mut work = pin!(work);
    let started = std::thread::scope(|scope| {
        let work = work.as_mut();
        let thread = std::thread::Builder::new()
            .name("wasm-long".to_owned())
            .spawn_scoped(scope, || {
                let _entered = runtime.enter();
                lower_priority();
                queue.run(work)
            })?;
        std::io::Result::Ok(thread.join())
    });
    match started {
        Ok(Ok(output)) => output,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => {
            tracing::debug!(%error, "a long call has no thread of its own");
            queue.run(work)
        }
    }
}

/// Raises this thread's nice value, and asks for time slices of one tick.
fn lower_priority() {
    // On Linux these calls are about the thread, not about the process.
    let made_nicer = getpriority_process(None)
        .and_then(|nice| setpriority_process(None, (nice + NICE_ADDED).min(NICE_MAX)));
    if let Err(error) = made_nicer {
        // The call still runs, but takes more time from short requests.
        tracing::debug!(%error, "a long call has the priority of all others");
    }
    time_slice::ask_for(TURN);
}
