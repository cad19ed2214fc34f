//! Calls the functions of triggers with the events that wait for them.

use std::sync::Arc;

use crate::state::ServerState;

/// Does its work until it is dropped. Calls that have begun go on in the background.
pub(crate) async fn run(state: Arc<ServerState>) {
    let Some(functions) = &state.functions else {
        return;
    };
    loop {
        let due = functions.due_event().await;
        let state = Arc::clone(&state);
        state.clone().background.spawn(async move {
            // An event whose call the server's stop cuts off is delivered after the next start.
            state.long_calls.run(Box::pin(due.run())).await;
        });
    }
}
