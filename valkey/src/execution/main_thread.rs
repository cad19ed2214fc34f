//! Calls on the server's main thread: a turn at a time, or to their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Waking, Poll, Wake, Waker};

use crate::api::context::Context;
use crate::execution::runner::{Run, Runner};
use crate::transaction::current_call::{CurrentCall, enter};
use crate::transaction::with_view;

/// What came of a turn.
pub(crate) enum Polled {
    /// The call is over; its reply.
    Done(Vec<u8>),
    /// It wants another turn.
    Yielded,
    /// It waits for something.
    Waiting,
}

/// What came of a call that had to end here.
pub(crate) enum Outcome {
    /// By itself; its client has the reply.
    Replied,
    /// It would have to wait, which would hold up the server.
    WouldWait,
    /// The server wants it to end.
    Killed,
}

/// Gives a call a turn.
pub(crate) fn poll_once(current: &CurrentCall<'_>, runner: &mut Runner) -> Polled {
    WOKEN.store(false, Ordering::Relaxed);
    match poll(current, runner) {
        Poll::Ready(reply) => Polled::Done(reply),
        Poll::Pending if WOKEN.load(Ordering::Relaxed) => Polled::Yielded,
        Poll::Pending => Polled::Waiting,
    }
}

/// Runs a call to its end, and answers if that was by itself. The server must not serve others
/// meanwhile: in the middle of a transaction it takes commands of none, and would end itself over
/// one. So the call's time must be short, or `killed` must be what looks after others.
pub(crate) fn run_to_completion(
    context: Context<'_>,
    mut run: Box<Run>,
    killed: impl Fn() -> bool,
) -> Outcome {
    let current = CurrentCall::on_main_thread(&run.call, &run.state, context);
    let end = loop {
        match poll_once(&current, &mut run.runner) {
            Polled::Done(reply) => {
                send_reply(context, run, reply);
                return Outcome::Replied;
            }
            Polled::Yielded => {}
            Polled::Waiting => break Outcome::WouldWait,
        }
        if killed() {
            break Outcome::Killed;
        }
    };
    abandon(context, run);
    end
}

/// Answers with the reply of a call that is over.
pub(crate) fn send_reply(context: Context<'_>, run: Box<Run>, reply: Vec<u8>) {
    context.reply(&reply);
    if let Some(run) = run.keep(reply) {
        abandon(context, run);
    }
}

/// Ends a call that is not over; nothing of it is kept.
pub(crate) fn abandon(context: Context<'_>, run: Box<Run>) {
    let Run {
        call,
        state,
        runner,
    } = *run;
    let current = CurrentCall::on_main_thread(&call, &state, context);
    enter(&current, || {
        drop(runner);
        // Only a fault of ours leaves anything to roll back.
        with_view(|view| view.roll_back());
    });
}

/// Whether the call that was polled last on the main thread wants to go on at once.
static WOKEN: AtomicBool = AtomicBool::new(false);

struct NoteWake;

impl Wake for NoteWake {
    fn wake(self: Arc<Self>) {
        WOKEN.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        WOKEN.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(NoteWake));
}

fn poll(current: &CurrentCall<'_>, runner: &mut Runner) -> Poll<Vec<u8>> {
    WAKER.with(|waker| runner.poll(current, &mut Waking::from_waker(waker)))
}
