//! Sends the requests that calls have committed to the engine, while this server has the right to.

use std::sync::Arc;
use std::time::Duration;

use ferrite_runtime::automation::figures::OutboxUsage;
use ferrite_upstream::{EngineRequests, UpstreamError};
use tokio::time::{Instant, sleep_until};

use crate::functions::Functions;
use crate::net::engine::Engine;
use crate::net::engine::functions::pull;
use crate::state::ServerState;

/// Time between two looks of the server that sends.
const LOOK: Duration = Duration::from_millis(500);

/// Time between two looks of another server.
const STANDBY_LOOK: Duration = Duration::from_secs(1);

/// Does its work until it is dropped. A request that has begun goes on in the background.
pub(crate) async fn run(state: Arc<ServerState>) {
    let (Some(engine), Some(functions)) = (&state.engine, &state.functions) else {
        return;
    };
    functions.note_requests_elsewhere(Some(OutboxUsage::default()));
    // No function here may make a request.
    if functions.options().network.rules.is_empty() {
        return;
    }
    let mut told = None;
    let requests = engine.upstream.requests_to_send();
    loop {
        let began = Instant::now();
        match look(engine, functions, &requests).await {
            Ok(sends) => {
                told = None;
                match sends {
                    true => send_until(&state, functions, began + LOOK).await,
                    false => sleep_until(began + STANDBY_LOOK).await,
                }
            }
            Err(error) => {
                functions.note_outbox_error(&error.reply());
                // Once for each reason, because it is tried each second.
                if told.as_ref() != Some(&error) {
                    tracing::warn!(%error, "the requests in the engine cannot be read or sent; give upstream.url a user that may read and write ferrite:requests* and ferrite:{{requests}}*");
                    told = Some(error);
                }
                sleep_until(began + STANDBY_LOOK).await;
            }
        }
    }
}

/// Takes in what others have committed. Returns true if this server sends.
async fn look(
    engine: &Engine,
    functions: &Functions,
    requests: &EngineRequests<'_>,
) -> Result<bool, UpstreamError> {
    let look = requests.look(functions).await?;
    if look.came.is_empty() {
        return Ok(look.sends);
    }
    // Another server may have loaded the function of a request just before.
    let account = &engine.upstream.pool_options().location.account;
    match pull(engine, account, functions).await {
        Ok(()) => {
            functions.take_in_requests(&look.came);
            requests.publish_figures(functions).await?;
        }
        Err(error) => {
            let error = format!("the functions in the engine cannot be read: {error}");
            functions.note_outbox_error(&error);
            requests.look_again();
        }
    }
    Ok(look.sends)
}

/// Sends what is due until then.
async fn send_until(state: &Arc<ServerState>, functions: &Functions, until: Instant) {
    loop {
        let due = tokio::select! {
            due = functions.due_request() => due,
            () = sleep_until(until) => return,
        };
        let state = Arc::clone(state);
        // A request that the server's stop cuts off is sent again by the server that sends then.
        state.clone().background.spawn(async move {
            if let Some(engine) = &state.engine {
                let requests = engine.upstream.requests_to_send();
                due.send_from(&requests, |()| async { requests.may_send() })
                    .await;
            }
        });
    }
}
