//! Calls on the server's main thread: a turn at a time, or to their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Waking, Poll, Wake, Waker};

use crate::api::context::Context;
use crate::execution::runner::{Run, Runner};
use crate::transaction::current_call::{CurrentCall, enter};
use crate::transaction::with_view;

/// What came of a turn.
pub(crate) enum Turn {
    /// The call is over; its reply.
    Ended(Vec<u8>),
    /// It wants another turn.
    GoesOn,
    /// It waits for something.
    Waits,
}

/// What came of a call that had to end here.
pub(crate) enum End {
    /// By itself; its client has the reply.
    Replied,
    /// It would have to wait, which would hold up the server.
    Waits,
    /// The server wants it to end.
    Killed,
}

/// Gives a call a turn.
pub(crate) fn turn(current: &CurrentCall<'_>, runner: &mut Runner) -> Turn {
    WOKEN.store(false, Ordering::Relaxed);
    match poll(current, runner) {
        Poll::Ready(reply) => Turn::Ended(reply),
        Poll::Pending if WOKEN.load(Ordering::Relaxed) => Turn::GoesOn,
        Poll::Pending => Turn::Waits,
    }
}

/// Runs a call to its end, and answers if that was by itself. The server must not serve others
/// meanwhile: in the middle of a transaction it takes commands of none, and would end itself over
/// one. So the call's time must be short, or `killed` must be what looks after others.
pub(crate) fn to_the_end(
    context: Context<'_>,
    mut run: Box<Run>,
    killed: impl Fn() -> bool,
) -> End {
    let current = CurrentCall::on_main_thread(&run.call, &run.state, context);
    let end = loop {
        match turn(&current, &mut run.runner) {
            Turn::Ended(reply) => {
                answer(context, run, reply);
                return End::Replied;
            }
            Turn::GoesOn => {}
            Turn::Waits => break End::Waits,
        }
        if killed() {
            break End::Killed;
        }
    };
    abandon(context, run);
    end
}

/// Answers with the reply of a call that is over.
pub(crate) fn answer(context: Context<'_>, run: Box<Run>, reply: Vec<u8>) {
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
