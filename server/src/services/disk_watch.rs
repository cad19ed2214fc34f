//! Logs when the disk ceases to take writes, and when it takes them again.

use std::sync::Arc;

use ferrite_store::DiskStatus;

use crate::state::ServerState;

/// Watches the disk until it is dropped.
pub(crate) async fn run(state: Arc<ServerState>) {
    let mut known = DiskStatus::default();
    // The listener comes before the look, so that no change between the two is missed.
    while let (Some(changed), Some(status)) =
        (state.store.disk_changed(), state.store.disk_status())
    {
        match (&known.failure, &status.failure) {
            (None, None) => {}
            (Some(_), None) => tracing::info!("the disk takes writes again"),
            (before, Some(cause)) if before.as_ref() != Some(cause) => {
                let DiskStatus {
                    waiting_commits,
                    unsynced_commits,
                    ..
                } = status;
                tracing::error!(
                    cause = &**cause,
                    waiting_commits,
                    unsynced_commits,
                    "the disk does not take writes: they are refused, reads go on, and what waits is tried again; what waits is lost if the server ends before the disk takes it"
                );
            }
            (_, Some(_)) => {}
        }
        known = status;
        changed.await;
    }
}
