//! Calls on the server's main thread.

use crate::api::context::Context;
use crate::execution::runner::{IdleRun, Polled, Run};
use crate::transaction::current_call::{CurrentCall, enter};
use crate::transaction::with_view;

/// End of a call that could not leave the main thread.
pub(crate) enum Outcome {
    /// By itself; the client has the reply.
    Replied,
    /// It would have had to wait, which would stop the server, so it was ended.
    WouldWait,
    /// The server wanted it to end.
    Killed,
}

/// Runs a call to its end without leaving the main thread, and sends the reply if it ended by
/// itself.
///
/// The server must not serve other clients meanwhile: in the middle of a transaction it runs no
/// other client's commands, and would crash if it tried. So the call's time must be limited to a
/// short one, or `killed`, which is asked after every time slice, must let the server do its other
/// work.
pub(crate) fn run_to_completion(
    context: Context<'_>,
    idle: &IdleRun,
    mut run: Box<Run>,
    killed: impl Fn() -> bool,
) -> Outcome {
    let current = CurrentCall::on_main_thread(&run.call, &run.state, context);
    let outcome = loop {
        match run.runner.poll_on_main_thread(&current) {
            Polled::Done(reply) => {
                send_reply(context, idle, run, reply);
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
    outcome
}

/// Sends the reply of a call that is over.
pub(crate) fn send_reply(context: Context<'_>, idle: &IdleRun, run: Box<Run>, reply: Vec<u8>) {
    context.reply(&reply);
    if let Some(run) = idle.keep(context, run, reply) {
        abandon(context, run);
    }
}

/// Ends a call that is not over, and rolls back what it wrote.
pub(crate) fn abandon(context: Context<'_>, run: Box<Run>) {
    let Run {
        call,
        state,
        runner,
    } = *run;
    let current = CurrentCall::on_main_thread(&call, &state, context);
    enter(&current, || {
        drop(runner);
        // The transaction rolled back as it was dropped; only a bug leaves anything to do here.
        with_view(|view| view.roll_back());
    });
}
