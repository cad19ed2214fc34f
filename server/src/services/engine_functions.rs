//! Takes over the functions that other servers load into the engine.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::functions::Functions;
use crate::net::engine::Engine;
use crate::net::engine::functions::{POLL, pull};
use crate::state::ServerState;

/// Pause after the engine could not be asked.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes over the functions once, before clients are served.
pub async fn begin(state: &ServerState) {
    if let (Some(engine), Some(functions)) = (&state.engine, &state.functions) {
        look(engine, functions).await;
    }
}

/// Takes over the functions whenever they have changed.
pub(crate) async fn run(state: Arc<ServerState>) {
    let (Some(engine), Some(functions)) = (&state.engine, &state.functions) else {
        return;
    };
    let account = &engine.upstream.pool_options().location.account;
    loop {
        let shared = engine.upstream.shared_functions(account);
        match shared.listen().await {
            Ok(mut changes) => loop {
                // A change that is not announced is found by asking.
                match timeout(POLL, changes.next()).await {
                    Ok(Err(_)) => break,
                    Ok(Ok(())) | Err(_) => look(engine, functions).await,
                }
            },
            Err(error) => tracing::debug!(%error, "the engine's functions are not listened to"),
        }
        sleep(PAUSE).await;
        look(engine, functions).await;
    }
}

async fn look(engine: &Engine, functions: &Functions) {
    let account = &engine.upstream.pool_options().location.account;
    let pulled = pull(engine, account, functions).await;
    if let Err(error) = pulled
        && let Some(left_out) = engine.function_warnings.line()
    {
        tracing::warn!(%error, left_out, "the functions in the engine cannot be read; give upstream.url a user that may read ferrite:*");
    }
}
