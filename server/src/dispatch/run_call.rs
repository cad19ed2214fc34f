//! Runs a call on the data: this server's, or its engine's.

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::{CallOutcome, CallRequest};
use ferrite_store::Receipt;
use ferrite_upstream::Account;

use crate::functions::Functions;
use crate::net::engine::CallThreads;
use crate::state::ServerState;

/// Runs a call on the data: this server's, or its engine's.
pub(super) async fn run_call(
    state: &ServerState,
    account: &Option<Account>,
    runtime: &Functions,
    request: &CallRequest<'_>,
    reply: &mut Encoder,
) -> CallOutcome<Receipt> {
    match (&state.engine, account) {
        (Some(engine), Some(account)) => {
            let threads = CallThreads(&state.long_calls);
            // Boxed, because calls without an engine would carry its size for nothing.
            let call = engine
                .upstream
                .call(runtime, &threads, request, account, reply);
            Box::pin(call).await.0
        }
        _ => runtime.call(request, reply).await,
    }
}
