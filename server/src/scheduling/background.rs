//! Calls that go on after their client got an answer.

use std::future::Future;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Tasks that belong to no connection.
#[derive(Debug, Default)]
pub(crate) struct BackgroundCalls(Mutex<JoinSet<()>>);

impl BackgroundCalls {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock();
        // Those that are over make room.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Waits for the tasks until `deadline`.
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

    /// Ends the tasks.
    pub(crate) async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.0.lock());
        tasks.shutdown().await;
    }
}
