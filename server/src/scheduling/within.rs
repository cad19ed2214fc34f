//! Waits with a limit that may be absent.

use std::future::Future;
use std::time::Duration;

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedOut;

/// Waits for `step` as long as `limit`, or as long as it takes where that is zero.
pub(crate) async fn within<T>(
    limit: Duration,
    step: impl Future<Output = T>,
) -> Result<T, TimedOut> {
    if limit.is_zero() {
        return Ok(step.await);
    }
    tokio::time::timeout(limit, step)
        .await
        .map_err(|_| TimedOut)
}
