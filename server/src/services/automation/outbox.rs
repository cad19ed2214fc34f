//! Sends the requests that calls have committed.

use std::sync::Arc;

use crate::state::ServerState;

/// Does its work until it is dropped. A request that has begun goes on in the background.
pub(crate) async fn run(state: Arc<ServerState>) {
    let Some(functions) = &state.functions else {
        return;
    };
    loop {
        let due = functions.due_request().await;
        // A request that the server's stop cuts off is sent again after the next start.
        state.background.spawn(async move {
            due.send(|receipt| async move { receipt.done().await.is_ok() })
                .await;
        });
    }
}
