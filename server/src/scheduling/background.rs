//! Calls in the background, which go on after their client got a reply.

use std::future::Future;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Calls that belong to no connection.
#[derive(Debug, Default)]
pub(crate) struct BackgroundCalls(Mutex<JoinSet<()>>);

impl BackgroundCalls {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock();
        // Removes finished tasks.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Waits until all calls have ended, at most until `deadline`.
    pub(crate) async fn wait(&self, deadline: Instant) {
        let mut tasks = std::mem::take(&mut *self.0.lock());
        while !tasks.is_empty() {
            if timeout_at(deadline, tasks.join_next()).await.is_err() {
                tracing::warn!(
                    calls = tasks.len(),
                    "some calls in the background are cut off"
                );
                *self.0.lock() = tasks;
                return;
            }
        }
    }

    /// Aborts all calls.
    pub(crate) async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.0.lock());
        tasks.shutdown().await;
    }
}
