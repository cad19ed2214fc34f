//! The commands on functions: run here if they take microseconds, elsewhere if they block.

use std::pin::pin;
use std::sync::Arc;

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::commands::{self, Command, Outcome, Right as Needed, Runs, Spec};
use ferrite_store::{Receipt, StoreError};

use crate::config::Right;
use crate::dispatch::authorize::{no_authentication, no_permission};
use crate::dispatch::call_log::{self, Caller};
use crate::dispatch::progress::{Pending, Progress};
use crate::request::{AfterReply, RequestContext};
use crate::scheduling::futures::time_from_first_wait;
use crate::state::ServerState;

/// Answers a request on functions, or says what it has to wait for.
#[inline]
pub(crate) fn start<'a>(
    context: &mut RequestContext<'_>,
    spec: &'static Spec,
    argv: &'a [&'a [u8]],
) -> Progress<'a> {
    let Some(runtime) = &context.state.functions else {
        context
            .reply
            .error("ERR functions are switched off by wasm.enabled = false");
        return Progress::Done(AfterReply::KeepOpen);
    };
    let command = match spec.read(argv) {
        Ok(command) => command,
        Err(error) => {
            context.reply.error_display(&error);
            return Progress::Done(AfterReply::KeepOpen);
        }
    };
    if !context.session.is_unrestricted() && !permitted(context, spec, &command) {
        return Progress::Done(AfterReply::KeepOpen);
    }
    match spec.runs {
        Runs::Async => Progress::Waiting(Pending::Function { spec, command }),
        Runs::AtOnce => {
            runtime.run_blocking(command, context.reply);
            Progress::Done(AfterReply::KeepOpen)
        }
        Runs::Blocking => Progress::Waiting(Pending::Blocking { spec, argv }),
    }
}

/// The right that a user needs for what the runtime says is needed.
pub(crate) const fn right(needed: Needed) -> Right {
    match needed {
        Needed::Call | Needed::Look => Right::Call,
        Needed::Manage => Right::Manage,
    }
}

/// Whether a user with bounded rights may do this; writes the error if not.
#[cold]
fn permitted(context: &mut RequestContext<'_>, spec: &Spec, command: &Command<'_>) -> bool {
    let Some(user) = context.session.user() else {
        no_authentication(context.reply);
        return false;
    };
    let right = right(spec.right);
    if !user.may(right) {
        no_permission(context, spec.name.as_bytes(), right);
        return false;
    }
    let allowed = command
        .calls()
        .is_none_or(|function| user.may_call(function));
    if !allowed {
        let function = command.calls().unwrap_or_default().escape_ascii();
        context.reply.error(format!(
            "NOPERM User {} has no permission to call the function '{function}'",
            context.session.user_name(),
        ));
    }
    allowed
}

/// Runs a command that does not block; longer than a tick only while a function runs.
pub(crate) async fn run(
    spec: &'static Spec,
    command: Command<'_>,
    context: &mut RequestContext<'_>,
) -> AfterReply {
    let Some(runtime) = &context.state.functions else {
        // Checked when the command was read.
        return AfterReply::KeepOpen;
    };
    let inner = commands::Scope {
        database: context.session.store.database(),
        handle: None,
    };
    let caller = || Caller::of(context.client);
    if let Command::Call(call) = &command {
        let request = call.request(inner.database, None);
        let began = context.state.audit.sample();
        // Pinned where it is made: it is large, and moving it would cost more than making it.
        let call = pin!(runtime.call(&request, context.reply));
        let (outcome, waited) = time_from_first_wait(call).await;
        let name = spec.name;
        call_log::record(
            context.state,
            caller,
            name,
            &request,
            &outcome,
            began,
            waited,
        );
        if let Some(receipt) = outcome.receipt {
            context.session.add_receipt(receipt);
        }
        return AfterReply::KeepOpen;
    }
    if let Command::Profile(call) = &command {
        let request = call.request(inner.database, None);
        let began = context.state.audit.sample();
        let call = Box::pin(runtime.profile(&request, context.reply));
        let (outcome, waited) = time_from_first_wait(pin!(call)).await;
        let name = spec.name;
        call_log::record(
            context.state,
            caller,
            name,
            &request,
            &outcome,
            began,
            waited,
        );
        return AfterReply::KeepOpen;
    }
    match runtime.run(command, inner, context.reply).await {
        Outcome::Done(receipt) => {
            if let Some(receipt) = receipt {
                context.session.add_receipt(receipt);
            }
        }
        Outcome::Background(mut call) => {
            let state = Arc::clone(context.state);
            let caller = caller();
            context.state.background.spawn(async move {
                let began = state.audit.sample();
                let (ended, waited) =
                    time_from_first_wait(pin!(state.long_calls.run(Box::pin(call.run())))).await;
                // One that is cut off is dropped unpublished, and then says so itself.
                let Some(outcome) = ended else {
                    return;
                };
                call.with_request(|request| {
                    let name = spec.name;
                    let caller = || caller.clone();
                    call_log::record(&state, caller, name, request, &outcome, began, waited);
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
    AfterReply::KeepOpen
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
    context: &mut RequestContext<'_>,
) -> AfterReply {
    let state = Arc::clone(context.state);
    let words: Vec<Box<[u8]>> = argv.iter().map(|&word| word.into()).collect();
    let protocol = context.reply.protocol();
    let ran = tokio::task::spawn_blocking(move || {
        let mut reply = Encoder::new(protocol);
        blocking(&state, spec, &words, &mut reply);
        reply.take()
    });
    match ran.await {
        Ok(reply) => context.reply.raw(&reply),
        Err(error) => {
            tracing::error!(command = spec.name, %error, "a command ended by a panic, which is a bug");
            context.reply.error(
                "ERR the command failed inside the server, which is a bug; its log tells more",
            );
        }
    }
    AfterReply::KeepOpen
}

fn blocking(state: &ServerState, spec: &'static Spec, words: &[Box<[u8]>], reply: &mut Encoder) {
    let argv: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
    match (&state.functions, spec.read(&argv)) {
        (Some(runtime), Ok(command)) => runtime.run_blocking(command, reply),
        (_, Err(error)) => reply.error_display(&error),
        // Checked before.
        (None, Ok(_)) => {}
    }
}
