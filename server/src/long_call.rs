//! Calls that take long go on, on threads of their own.
//!
//! A guest gives up its thread once a tick, but a thread that serves connections has at most a tick
//! to wait for each guest before it. Once a call has used up several ticks it is moved to a thread of
//! its own, where the system's scheduler shares the processors: it lets threads that mostly wait,
//! as those of connections do, go before threads that only compute.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

/// Turns after which a call is a long one; while it computes, each is a tick long.
const TURNS: u32 = 3;

/// Threads for long calls; further ones stay where they are. Well below the number of threads that
/// tokio has for everything that blocks.
const THREADS_MAX: usize = 128;

/// Where long calls run.
#[derive(Debug)]
pub(crate) struct LongCalls {
    threads: Semaphore,
    cut: watch::Sender<bool>,
}

impl Default for LongCalls {
    fn default() -> Self {
        Self {
            threads: Semaphore::new(THREADS_MAX),
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
    pub(crate) async fn run<F: Future + Unpin>(&self, mut work: F) -> Option<F::Output> {
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
        tokio::task::block_in_place(|| {
            Handle::current().block_on(async {
                tokio::select! {
                    biased;
                    output = work => Some(output),
                    // Fails only without a sender, and we are it.
                    _ = cut.wait_for(|&cut| cut) => None,
                }
            })
        })
    }
}
