//! The commands on functions: run here if they take microseconds, elsewhere if they block.

use std::pin::pin;
use std::sync::Arc;

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::commands::{self, Command, Outcome, Right as Needed, Runs, Spec};
use ferrite_store::{Receipt, StoreError};

use crate::commands::{Flow, Scope};
use crate::config::Right;
use crate::dispatch::authorize::{no_authentication, no_permission};
use crate::dispatch::call_log::{self, Caller};
use crate::dispatch::outcome::{Later, Step};
use crate::scheduling::since_wait::since_first_wait;
use crate::state::Host;

/// Answers a request on functions, or says what it has to wait for.
#[inline]
pub(crate) fn start<'a>(
    scope: &mut Scope<'_>,
    spec: &'static Spec,
    argv: &'a [&'a [u8]],
) -> Step<'a> {
    let Some(runtime) = &scope.host.functions else {
        scope
            .reply
            .error("ERR functions are switched off by wasm.enabled = false");
        return Step::Done(Flow::Continue);
    };
    let command = match spec.read(argv) {
        Ok(command) => command,
        Err(error) => {
            scope.reply.error_display(&error);
            return Step::Done(Flow::Continue);
        }
    };
    if !scope.session.is_unrestricted() && !permitted(scope, spec, &command) {
        return Step::Done(Flow::Continue);
    }
    match spec.runs {
        Runs::Async => Step::Later(Later::Function { spec, command }),
        Runs::AtOnce => {
            runtime.run_blocking(command, scope.reply);
            Step::Done(Flow::Continue)
        }
        Runs::Blocking => Step::Later(Later::Blocking { spec, argv }),
    }
}

/// The right that a user needs for what the runtime says is needed.
pub(crate) const fn right(needed: Needed) -> Right {
    match needed {
        Needed::Call | Needed::Inspect => Right::Call,
        Needed::Manage => Right::Manage,
    }
}

/// Whether a user with bounded rights may do this; writes the error if not.
#[cold]
fn permitted(scope: &mut Scope<'_>, spec: &Spec, command: &Command<'_>) -> bool {
    let Some(user) = scope.session.user() else {
        no_authentication(scope.reply);
        return false;
    };
    let right = right(spec.right);
    if !user.may(right) {
        no_permission(scope, spec.name.as_bytes(), right);
        return false;
    }
    let allowed = command
        .calls()
        .is_none_or(|function| user.may_call(function));
    if !allowed {
        let function = command.calls().unwrap_or_default().escape_ascii();
        scope.reply.error(format!(
            "NOPERM User {} has no permission to call the function '{function}'",
            scope.session.user_name(),
        ));
    }
    allowed
}

/// Runs a command that does not block; longer than a tick only while a function runs.
pub(crate) async fn run(spec: &'static Spec, command: Command<'_>, scope: &mut Scope<'_>) -> Flow {
    let Some(runtime) = &scope.host.functions else {
        // Checked when the command was read.
        return Flow::Continue;
    };
    let inner = commands::Scope {
        database: scope.session.store.database(),
        handle: None,
    };
    let caller = || Caller::of(scope.client);
    if let Command::Call(call) = &command {
        let request = call.request(inner.database, None);
        let began = scope.host.audit.begin();
        // Pinned where it is made: it is large, and moving it would cost more than making it.
        let call = pin!(runtime.call(&request, scope.reply));
        let (outcome, waited) = since_first_wait(call).await;
        let name = spec.name;
        call_log::note(scope.host, caller, name, &request, &outcome, began, waited);
        if let Some(receipt) = outcome.receipt {
            scope.session.note(receipt);
        }
        return Flow::Continue;
    }
    if let Command::Profile(call) = &command {
        let request = call.request(inner.database, None);
        let began = scope.host.audit.begin();
        let call = Box::pin(runtime.profile(&request, scope.reply));
        let (outcome, waited) = since_first_wait(pin!(call)).await;
        let name = spec.name;
        call_log::note(scope.host, caller, name, &request, &outcome, began, waited);
        return Flow::Continue;
    }
    match runtime.run(command, inner, scope.reply).await {
        Outcome::Done(receipt) => {
            if let Some(receipt) = receipt {
                scope.session.note(receipt);
            }
        }
        Outcome::Background(mut call) => {
            let host = Arc::clone(scope.host);
            let caller = caller();
            scope.host.background.spawn(async move {
                let began = host.audit.begin();
                let (ended, waited) =
                    since_first_wait(pin!(host.long_calls.run(Box::pin(call.run())))).await;
                // One that is cut off is dropped unpublished, and then says so itself.
                let Some(outcome) = ended else {
                    return;
                };
                call.with_request(|request| {
                    let name = spec.name;
                    let caller = || caller.clone();
                    call_log::note(&host, caller, name, request, &outcome, began, waited);
                });
                // What it proves is waited for before anybody can fetch the reply.
                match settle(outcome.receipt).await {
                    Ok(()) => call.publish(),
                    Err(error) => {
                        tracing::error!(%error, "a call in the background could not be made durable");
                    }
                }
            });
        }
    }
    Flow::Continue
}

async fn settle(receipt: Option<Receipt>) -> Result<(), StoreError> {
    match receipt {
        Some(receipt) => receipt.done().await,
        None => Ok(()),
    }
}

/// Runs a command that blocks, on a thread that may.
///
/// A client that goes away meanwhile does not end it: half a load would help nobody.
pub(crate) async fn run_blocking(
    spec: &'static Spec,
    argv: &[&[u8]],
    scope: &mut Scope<'_>,
) -> Flow {
    let host = Arc::clone(scope.host);
    let words: Vec<Box<[u8]>> = argv.iter().map(|&word| word.into()).collect();
    let protocol = scope.reply.protocol();
    let ran = tokio::task::spawn_blocking(move || {
        let mut reply = Encoder::new(protocol);
        blocking(&host, spec, &words, &mut reply);
        reply.take()
    });
    match ran.await {
        Ok(reply) => scope.reply.raw(&reply),
        Err(error) => {
            tracing::error!(command = spec.name, %error, "a command ended by a panic, which is a bug");
            scope.reply.error(
                "ERR the command failed inside the server, which is a bug; its log tells more",
            );
        }
    }
    Flow::Continue
}

fn blocking(host: &Host, spec: &'static Spec, words: &[Box<[u8]>], reply: &mut Encoder) {
    let argv: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
    match (&host.functions, spec.read(&argv)) {
        (Some(runtime), Ok(command)) => runtime.run_blocking(command, reply),
        (_, Err(error)) => reply.error_display(&error),
        // Checked before.
        (None, Ok(_)) => {}
    }
}
