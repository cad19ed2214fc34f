//! Calls that take long go on, on threads of their own.
//!
//! A guest gives up its thread once a tick, but a thread that serves connections has at most a tick
//! to wait for each guest before it. Once a call has used up several ticks it is moved to a thread of
//! its own. Those threads take turns of a tick, as many at a time as there are processors, so that
//! each call soon notices that it is to end, however many there are. And they are nicer than the
//! threads that serve connections, with longer time slices: whoever has a short request goes first.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use ferrite_runtime::scheduling::epoch_ticker::TICK;
use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::scheduling::run_queue::Turns;
use crate::scheduling::time_slice;

/// Turns after which a call is a long one; while it computes, each is a tick long.
const TURNS: u32 = 3;

/// Threads for long calls; further ones stay where they are. Well below the number of threads that
/// tokio has for everything that blocks.
const THREADS_MAX: usize = 128;

/// How much nicer the threads of long calls are than the others. Linux gives a nice value of 5 about
/// a third of the share of 0 (`sched_prio_to_weight`): less where processors are short, but enough
/// for a call to notice soon that it is to end.
const NICER: i32 = 5;

/// The nicest that Linux knows.
const NICEST: i32 = 19;

/// Where long calls run.
#[derive(Debug)]
pub(crate) struct LongCalls {
    threads: Semaphore,
    turns: Turns,
    cut: watch::Sender<bool>,
}

impl Default for LongCalls {
    fn default() -> Self {
        Self {
            threads: Semaphore::new(THREADS_MAX),
            turns: Turns::new(std::thread::available_parallelism().map_or(1, usize::from)),
            cut: watch::Sender::new(false),
        }
    }
}

impl LongCalls {
    /// Ends the long calls, which their tasks cannot do while they are on threads of their own.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Runs `work`, where it is now or on a thread of its own; `None` if it was cut off.
    ///
    /// Needs tokio's runtime of many threads.
    pub(crate) async fn run<F>(&self, mut work: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Unpin + Send,
    {
        let mut turns = 0;
        let short = poll_fn(|context| match Pin::new(&mut work).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                turns += 1;
                if turns < TURNS {
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
                // Fails only without a sender, and we are it.
                _ = cut.wait_for(|&cut| cut) => None,
            }
        };
        tokio::task::block_in_place(|| on_nicer_thread(&self.turns, until_cut))
    }
}

/// Runs `work` to its end on a new thread that gives way to the others; here if there can be none.
///
/// A thread of its own each time, because a thread may become nicer but not go back without rights.
fn on_nicer_thread<F: Future<Output: Send> + Send>(turns: &Turns, work: F) -> F::Output {
    let runtime = Handle::current();
    let mut work = pin!(work);
    let started = std::thread::scope(|scope| {
        let work = work.as_mut();
        let thread = std::thread::Builder::new()
            .name("wasm-long".to_owned())
            .spawn_scoped(scope, || {
                let _entered = runtime.enter();
                give_way();
                turns.run(work)
            })?;
        std::io::Result::Ok(thread.join())
    });
    match started {
        Ok(Ok(output)) => output,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => {
            tracing::debug!(%error, "a long call has no thread of its own");
            turns.run(work)
        }
    }
}

/// Makes this thread nicer than it is.
fn give_way() {
    // Of the thread, on Linux, not of the process.
    let made_nicer = getpriority_process(None)
        .and_then(|nice| setpriority_process(None, (nice + NICER).min(NICEST)));
    if let Err(error) = made_nicer {
        // It is only less polite.
        tracing::debug!(%error, "a long call has the priority of all others");
    }
    // A turn.
    time_slice::ask_for(TICK);
}
