//! Runs the commands on data, and answers those that no part of the program knows.

use ferrite_store::{DataCommand, Flow};

use crate::dispatch::authorize::{may_run, no_authentication};
use crate::dispatch::guarded_write;
use crate::dispatch::progress::{Pending, Progress};
use crate::request::{AfterReply, RequestContext};

/// Answers a request on data if the user may make it, or returns the wait it needs first.
#[inline]
pub(crate) fn start<'a>(
    context: &mut RequestContext<'_>,
    command: DataCommand,
    argv: &'a [&'a [u8]],
) -> Progress<'a> {
    if !context.session.is_unrestricted() && !may_run(context, command, argv) {
        return Progress::Done(AfterReply::KeepOpen);
    }
    execute(context, command, argv)
}

/// Answers a request whose permission has been checked, or returns the wait it needs first.
pub(crate) fn execute<'a>(
    context: &mut RequestContext<'_>,
    command: DataCommand,
    argv: &'a [&'a [u8]],
) -> Progress<'a> {
    if let Some(functions) = &context.state.functions
        && guarded_write::is_guarded(functions, command, argv)
    {
        return Progress::Waiting(Pending::Guarded { command, argv });
    }
    let flow = context.state.store.execute_command(
        command,
        &mut context.session.store,
        argv,
        context.reply,
    );
    match flow {
        Flow::Done => Progress::Done(AfterReply::KeepOpen),
        Flow::Retry(retry) => Progress::Waiting(Pending::Write {
            retry,
            command,
            argv,
        }),
        Flow::Blocked(blocked) => Progress::Waiting(Pending::Blocked(blocked)),
    }
}

/// Writes the error of a request whose command does not exist.
#[cold]
pub(crate) fn unknown(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    if context.session.user().is_none() {
        no_authentication(context.reply);
    } else if let Err(error) = context.state.store.access(argv) {
        context.reply.error_display(&error);
    }
    AfterReply::KeepOpen
}
