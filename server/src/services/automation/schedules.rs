//! Calls the functions whose schedules are due.

use std::sync::Arc;

use crate::state::ServerState;

/// Does its work until it is dropped. Calls that have begun go on in the background.
pub(crate) async fn run(state: Arc<ServerState>) {
    let Some(functions) = &state.functions else {
        return;
    };
    loop {
        let due = functions.due_schedule().await;
        let state = Arc::clone(&state);
        state.clone().background.spawn(async move {
            // A call that the server's stop cuts off counts as missed.
            state.long_calls.run(Box::pin(due.run())).await;
        });
    }
}
