//! Takes each request to the code that answers it.
//!
//! What can be answered at once is, without a future and without an allocation; only what has to
//! wait becomes a [`Later`].

pub(crate) mod authorize;
pub(crate) mod call_log;
pub(crate) mod function_commands;
pub(crate) mod outcome;
pub(crate) mod transaction;

use ferrite_runtime::commands::find as find_function;

use crate::commands::{self, Flow, Scope, Spec, wrong_arity};
use crate::dispatch::authorize::{no_authentication, no_permission, permitted};
use crate::dispatch::outcome::{Later, Step};
use crate::scheduling::within::within;

/// Answers a request, or says what it has to wait for. `argv` has at least the command's name.
#[inline]
pub(crate) fn start<'a>(scope: &mut Scope<'_>, argv: &'a [&'a [u8]]) -> Step<'a> {
    let name = argv[0];
    if scope.session.held.is_some() {
        return transaction::take(scope, argv);
    }
    if let Some(spec) = find_function(name) {
        return function_commands::start(scope, spec, argv);
    }
    if let Some(spec) = commands::find(name) {
        return Step::Done(own(scope, spec, argv));
    }
    if !scope.session.is_unrestricted() && !permitted(scope, argv) {
        return Step::Done(Flow::Continue);
    }
    data(scope, argv)
}

/// A command of the server's own.
fn own(scope: &mut Scope<'_>, spec: &Spec, argv: &[&[u8]]) -> Flow {
    if !spec.takes(argv.len()) {
        wrong_arity(scope.reply, spec.name);
        return Flow::Continue;
    }
    if scope.session.user().is_none() && !spec.before_auth {
        no_authentication(scope.reply);
        return Flow::Continue;
    }
    if let Some(right) = spec.right
        && !scope.session.may(right)
    {
        no_permission(scope, argv[0], right);
        return Flow::Continue;
    }
    (spec.run)(scope, argv)
}

/// A command on the data.
fn data<'a>(scope: &mut Scope<'_>, argv: &'a [&'a [u8]]) -> Step<'a> {
    let flow = scope
        .host
        .store
        .execute(&mut scope.session.store, argv, scope.reply);
    match flow {
        ferrite_store::Flow::Done => Step::Done(Flow::Continue),
        ferrite_store::Flow::Retry(retry) => Step::Later(Later::Reserved { retry, argv }),
        ferrite_store::Flow::Blocked(blocked) => Step::Later(Later::Blocked(blocked)),
    }
}

impl Later<'_> {
    /// Waits, and answers the request.
    pub(crate) async fn run(self, scope: &mut Scope<'_>) -> Flow {
        let mut later = self;
        loop {
            let step = match later {
                Self::Function { spec, command } => {
                    return function_commands::run(spec, command, scope).await;
                }
                Self::Blocking { spec, argv } => {
                    return function_commands::run_blocking(spec, argv, scope).await;
                }
                Self::Reserved { retry, argv } => {
                    retry.await;
                    data(scope, argv)
                }
                Self::Exec(retry) => transaction::retry(scope, retry).await,
                Self::Blocked(blocked) => {
                    let limit = blocked.timeout().unwrap_or_default();
                    // Whether it was served or the time was up, the reply says.
                    let _ = within(limit, blocked.served()).await;
                    blocked.finish(&mut scope.session.store, scope.reply);
                    return Flow::Continue;
                }
            };
            match step {
                Step::Done(flow) => return flow,
                Step::Later(next) => later = next,
            }
        }
    }
}
