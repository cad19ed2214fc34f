//! Takes each request to the code that answers it.
//!
//! What can be answered at once is, without a future and without an allocation; only what has to
//! wait becomes a [`Pending`].

pub(crate) mod authorize;
pub(crate) mod call_log;
pub(crate) mod function_commands;
pub(crate) mod progress;
pub(crate) mod transaction;

use ferrite_runtime::commands::find as find_function;

use crate::commands::replies::wrong_arity;
use crate::commands::spec::Spec;
use crate::commands::table;
use crate::dispatch::authorize::{no_authentication, no_permission, permitted};
use crate::dispatch::progress::{Pending, Progress};
use crate::keyspace::reply_writer::Replies;
use crate::request::{AfterReply, RequestContext};
use crate::scheduling::futures::with_timeout;

/// Answers a request, or says what it has to wait for. `argv` has at least the command's name.
#[inline]
pub(crate) fn start<'a>(context: &mut RequestContext<'_>, argv: &'a [&'a [u8]]) -> Progress<'a> {
    let name = argv[0];
    if context.session.queued.is_some() {
        return transaction::take(context, argv);
    }
    if let Some(spec) = find_function(name) {
        return function_commands::start(context, spec, argv);
    }
    if let Some(spec) = table::find(name) {
        return Progress::Done(own(context, spec, argv));
    }
    if !context.session.is_unrestricted() && !permitted(context, argv) {
        return Progress::Done(AfterReply::KeepOpen);
    }
    data(context, argv)
}

/// A command of the server's own.
fn own(context: &mut RequestContext<'_>, spec: &Spec, argv: &[&[u8]]) -> AfterReply {
    if !spec.takes(argv.len()) {
        wrong_arity(context.reply, spec.name);
        return AfterReply::KeepOpen;
    }
    if context.session.user().is_none() && !spec.before_auth {
        no_authentication(context.reply);
        return AfterReply::KeepOpen;
    }
    if let Some(right) = spec.right
        && !context.session.may(right)
    {
        no_permission(context, argv[0], right);
        return AfterReply::KeepOpen;
    }
    (spec.run)(context, argv)
}

/// A command on the data.
fn data<'a>(context: &mut RequestContext<'_>, argv: &'a [&'a [u8]]) -> Progress<'a> {
    let flow = context.state.store.execute(
        &mut context.session.store,
        argv,
        &mut Replies(context.reply),
    );
    match flow {
        ferrite_store::Flow::Done => Progress::Done(AfterReply::KeepOpen),
        ferrite_store::Flow::Retry(retry) => Progress::Waiting(Pending::Reserved { retry, argv }),
        ferrite_store::Flow::Blocked(blocked) => Progress::Waiting(Pending::Blocked(blocked)),
    }
}

impl Pending<'_> {
    /// Waits, and answers the request.
    pub(crate) async fn run(self, context: &mut RequestContext<'_>) -> AfterReply {
        let mut pending = self;
        loop {
            let step = match pending {
                Self::Function { spec, command } => {
                    return function_commands::run(spec, command, context).await;
                }
                Self::Blocking { spec, argv } => {
                    return function_commands::run_blocking(spec, argv, context).await;
                }
                Self::Reserved { retry, argv } => {
                    retry.await;
                    data(context, argv)
                }
                Self::Exec(retry) => transaction::retry(context, retry).await,
                Self::Blocked(blocked) => {
                    let limit = blocked.timeout().unwrap_or_default();
                    // Whether it was served or the time was up, the reply says.
                    let _ = with_timeout(limit, blocked.served()).await;
                    blocked.finish(&mut context.session.store, &mut Replies(context.reply));
                    return AfterReply::KeepOpen;
                }
            };
            match step {
                Progress::Done(flow) => return flow,
                Progress::Waiting(next) => pending = next,
            }
        }
    }
}
