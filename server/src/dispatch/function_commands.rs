//! Runs the commands on functions, such as `WASM.CALL` and `WASM.LOAD`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::automation::declared::AutomationRights;
use ferrite_runtime::commands::{
    BackgroundCall, Command, FunctionFilter, Measured, Outbox, Outcome, Right as FunctionRight,
    Runs, Scope, Spec, with_cpu_time, write_profile,
};
use ferrite_runtime::{CallOutcome, CallRequest};
use ferrite_store::{Receipt, Store, StoreError};
use ferrite_upstream::Account;

use crate::clients::caller::Caller;
use crate::commands::change_log;
use crate::commands::table::automation_rights;
use crate::dispatch::authorize::may_run_function_command;
use crate::dispatch::call_all;
use crate::dispatch::call_log::{self, Unfinished};
use crate::dispatch::run_call::run_call;
use crate::functions::Functions;
use crate::net::engine::CallThreads;
use crate::request::RequestContext;
use crate::scheduling::futures::time_from_first_wait;
use crate::state::ServerState;

/// Reads a request on functions, checks that the user may make it, runs it and writes its reply.
///
/// If the future is dropped, a call that runs is aborted and has no effect. A command that blocks
/// runs to its end on a thread of its own.
pub(crate) async fn run(context: &mut RequestContext<'_>, spec: &'static Spec, argv: &[&[u8]]) {
    let Some(runtime) = &context.state.functions else {
        context
            .reply
            .error("ERR functions are switched off by wasm.enabled = false");
        return;
    };
    // The thread that runs it also reads it.
    if spec.runs == Runs::Blocking && context.session.is_unrestricted() {
        return run_blocking(context, spec, argv).await;
    }
    let command = match spec.read(argv) {
        Ok(command) => command,
        Err(error) => return context.reply.error_display(&error),
    };
    if !context.session.is_unrestricted()
        && !may_run_function_command(context, spec, argv, &command)
    {
        return;
    }
    if spec.runs == Runs::Blocking {
        return run_blocking(context, spec, argv).await;
    }
    let database = context.session.store.database();
    let caller = || Caller::of(context.client);
    let user = context.share();
    if let Command::Call(call) = &command {
        let request = CallRequest {
            user,
            ..call.request(database, None)
        };
        let began = context.state.audit.sample();
        let account = context.session.account.clone();
        // Pinned in place, because it is large and moving it would cost more than making it.
        let call = pin!(run_call(
            context.state,
            &account,
            runtime,
            &request,
            context.reply
        ));
        let unfinished = Unfinished::new(context.state, context.client, spec.name, &request, began);
        let (outcome, waited) = time_from_first_wait(call).await;
        unfinished.ended();
        call_log::record(
            context.state,
            caller,
            spec.name,
            &request,
            &outcome,
            began,
            waited,
        );
        if let Some(receipt) = outcome.receipt {
            context.session.add_receipt(receipt);
        }
        return;
    }
    if let Command::CallAll(call) = &command {
        let call = call_all::run(context, runtime, spec.name, call);
        return Box::pin(call).await;
    }
    if let Command::Profile(call) = &command {
        let request = CallRequest {
            user,
            ..call.request(database, None)
        };
        let began = context.state.audit.sample();
        let call = profile(
            context.state,
            &context.session.account,
            runtime,
            &request,
            context.reply,
        );
        let call = Box::pin(call);
        let unfinished = Unfinished::new(context.state, context.client, spec.name, &request, began);
        let (outcome, waited) = time_from_first_wait(pin!(call)).await;
        unfinished.ended();
        call_log::record(
            context.state,
            caller,
            spec.name,
            &request,
            &outcome,
            began,
            waited,
        );
        return;
    }
    let some = context
        .session
        .user()
        .filter(|user| user.has_some_functions())
        .cloned();
    let may_use = |function: &[u8]| some.as_ref().is_none_or(|user| user.may_use(function));
    let scope = Scope {
        database,
        handle: None,
        user,
        functions: match some {
            Some(_) => FunctionFilter::new(&may_use),
            None => FunctionFilter::default(),
        },
        ..Scope::default()
    };
    if let (Command::Outbox(outbox), Some(engine), Some(account)) =
        (&command, &context.state.engine, &context.session.account)
    {
        let changes = !command.only_shows();
        let start = context.reply.len();
        let requests = engine.upstream.requests(account);
        if matches!(outbox, Outbox::Info)
            && let Err(error) = engine
                .upstream
                .requests_to_send()
                .refresh_figures(runtime)
                .await
        {
            runtime.note_outbox_error(&error.reply());
        }
        let running = runtime.run_outbox(*outbox, &requests, scope.functions, context.reply);
        Box::pin(running).await;
        if changes {
            let reply = &context.reply.bytes()[start..];
            change_log::record(&caller(), spec.name, argv.get(2).copied(), reply);
        }
        return;
    }
    let reply_start = context.reply.len();
    let shows_only = command.only_shows();
    // After the name of a subcommand, if the command has some.
    let changed = argv
        .get(if spec.has_subcommands() { 2 } else { 1 })
        .copied();
    match runtime.run(command, scope, context.reply).await {
        Outcome::Done(receipt) => {
            if spec.right == FunctionRight::Manage && !shows_only {
                let reply = &context.reply.bytes()[reply_start..];
                change_log::record(&caller(), spec.name, changed, reply);
            }
            if let Some(receipt) = receipt {
                context.session.add_receipt(receipt);
            }
        }
        Outcome::Background(mut call) => {
            let state = Arc::clone(context.state);
            let caller = caller();
            let account = context.session.account.clone();
            context.state.background.spawn(async move {
                let began = state.audit.sample();
                let (ended, waited) =
                    time_from_first_wait(pin!(run_background(&state, &account, &mut call))).await;
                // A call that the server's stop cuts off is dropped here and reports that itself.
                let Some(outcome) = ended else {
                    return;
                };
                call.with_request(|request| {
                    let caller = || caller.clone();
                    call_log::record(&state, caller, spec.name, request, &outcome, began, waited);
                });
                // The reply can be fetched only once the call's writes are durable.
                match wait_until_durable(outcome.receipt).await {
                    Ok(()) => call.publish(),
                    Err(error) => {
                        tracing::error!(%error, "a call in the background could not be made durable");
                    }
                }
            });
        }
    }
}

/// Runs a call for real, writes its measurements, and discards what it wrote.
async fn profile(
    state: &ServerState,
    account: &Option<Account>,
    runtime: &Functions,
    request: &CallRequest<'_>,
    reply: &mut Encoder,
) -> CallOutcome<Receipt> {
    let (Some(engine), Some(account)) = (&state.engine, account) else {
        return runtime.profile(request, reply).await;
    };
    let request = CallRequest {
        profile: true,
        ..*request
    };
    let threads = CallThreads(&state.long_calls);
    let mut answer = Encoder::new(reply.protocol());
    let started = Instant::now();
    let call = engine
        .upstream
        .call(runtime, &threads, &request, account, &mut answer);
    let ((outcome, usage), cpu) = with_cpu_time(call).await;
    match &outcome.error {
        // Nothing ran, so there is nothing to report.
        Some(_) if outcome.tries == 0 => reply.raw(answer.bytes()),
        _ => {
            let measured = Measured {
                wall: started.elapsed(),
                cpu,
                engine: Some(usage),
            };
            write_profile(&outcome, &answer, &measured, reply);
        }
    }
    outcome
}

/// Runs a background call and holds its reply back; returns `None` if the server stops instead.
async fn run_background(
    state: &ServerState,
    account: &Option<Account>,
    call: &mut BackgroundCall<Store>,
) -> Option<CallOutcome<Receipt>> {
    let (Some(engine), Some(account), Some(runtime)) = (&state.engine, account, &state.functions)
    else {
        return state.long_calls.run(Box::pin(call.run())).await;
    };
    let threads = CallThreads(&state.long_calls);
    let mut reply = Encoder::new(Protocol::Resp3);
    let outcome = {
        let (keys, args) = call.words();
        let request = call.request(&keys, &args);
        let running = engine
            .upstream
            .call(runtime, &threads, &request, account, &mut reply);
        Box::pin(running).await.0
    };
    call.hold_reply(reply.take());
    Some(outcome)
}

async fn wait_until_durable(receipt: Option<Receipt>) -> Result<(), StoreError> {
    match receipt {
        Some(receipt) => receipt.done().await,
        None => Ok(()),
    }
}

/// Reads and runs a command that blocks, on a thread that may block.
///
/// The command goes on if the client disconnects, because half a load would help no client.
async fn run_blocking(context: &mut RequestContext<'_>, spec: &'static Spec, argv: &[&[u8]]) {
    let state = Arc::clone(context.state);
    let caller = Caller::of(context.client);
    let protocol = context.reply.protocol();
    let words: Vec<Box<[u8]>> = argv.iter().map(|&word| word.into()).collect();
    let scope = Scope {
        database: context.session.store.database(),
        automation: match context.session.user() {
            Some(user) if !context.session.is_unrestricted() => automation_rights(user),
            _ => AutomationRights::default(),
        },
        ..Scope::default()
    };
    let task = tokio::task::spawn_blocking(move || {
        let argv: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
        let mut reply = Encoder::new(protocol);
        match (spec.read(&argv), &state.functions) {
            (Ok(command), Some(runtime)) => runtime.run_blocking(command, scope, &mut reply),
            (Err(error), _) => reply.error_display(&error),
            // The caller has seen that functions are switched on, which does not change.
            (Ok(_), None) => {}
        }
        reply.take()
    });
    match task.await {
        Ok(reply) => {
            if spec.right == FunctionRight::Manage {
                change_log::record(&caller, spec.name, argv.get(1).copied(), &reply);
            }
            context.reply.raw(&reply);
        }
        Err(error) => {
            tracing::error!(command = spec.name, %error, "a command panicked, which is a bug");
            context.reply.error(
                "ERR the command failed because of a bug in the server; the server's log has details",
            );
        }
    }
}
