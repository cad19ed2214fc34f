//! Runs `WASM.CALLALL`. This server is its only node.

use std::pin::pin;
use std::time::{Duration, Instant};

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::CallRequest;
use ferrite_runtime::commands::{
    CallAll, error_of_node, error_of_reply, reduce_request, reply_as_argument, write_partial,
    write_replies,
};

use crate::clients::caller::Caller;
use crate::dispatch::call_log::{self, Unfinished};
use crate::dispatch::run_call::run_call;
use crate::functions::Functions;
use crate::request::RequestContext;
use crate::scheduling::futures::time_from_first_wait;

/// Shortest time that the second call gets, so that it ends by its limit and not before it begins.
const TIME_MIN: Duration = Duration::from_millis(1);

/// Runs the entry, then the entry that gets its reply, and writes one reply.
pub(super) async fn run(
    context: &mut RequestContext<'_>,
    runtime: &Functions,
    command: &'static str,
    call: &CallAll<'_>,
) {
    let began = Instant::now();
    if let Err(error) = runtime.function(call.function_name()) {
        return context.reply.error_display(&error);
    }
    let database = context.session.store.database();
    let reduce = call.reduce_function();
    let protocol = match &reduce {
        Some(_) => Protocol::Resp2,
        None => context.reply.protocol(),
    };
    let mut mapped = Encoder::new(protocol);
    let user = context.share();
    let request = CallRequest {
        user,
        ..call.map_request(database)
    };
    one(context, runtime, command, &request, &mut mapped).await;
    let node = context.state.run_id.clone();
    if let Some(error) = error_of_reply(mapped.bytes()) {
        return context.reply.error(error_of_node(&node, error));
    }
    let mut whole = Encoder::new(context.reply.protocol());
    match reduce {
        None => write_replies([(&*node, mapped.bytes())].into_iter(), &mut whole),
        Some(function) => {
            let argument = reply_as_argument(mapped.bytes());
            let left = call
                .timeout
                .map(|timeout| timeout.saturating_sub(began.elapsed()).max(TIME_MIN));
            let arguments = [&*argument];
            let request = CallRequest {
                user,
                ..reduce_request(&function, &arguments, left, database)
            };
            one(context, runtime, command, &request, &mut whole).await;
            if error_of_reply(whole.bytes()).is_some() {
                return context.reply.raw(whole.bytes());
            }
        }
    }
    if call.partial {
        write_partial(whole.bytes(), &[], context.reply);
    } else {
        context.reply.raw(whole.bytes());
    }
}

/// Runs one of the two calls, and records it.
async fn one(
    context: &mut RequestContext<'_>,
    runtime: &Functions,
    command: &'static str,
    request: &CallRequest<'_>,
    reply: &mut Encoder,
) {
    let began = context.state.audit.sample();
    let account = context.session.account.clone();
    let call = pin!(run_call(context.state, &account, runtime, request, reply));
    let unfinished = Unfinished::new(context.state, context.client, command, request, began);
    let (outcome, waited) = time_from_first_wait(call).await;
    unfinished.ended();
    let caller = || Caller::of(context.client);
    call_log::record(
        context.state,
        caller,
        command,
        request,
        &outcome,
        began,
        waited,
    );
}
