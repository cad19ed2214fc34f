//! Futures that are polled once, timed, or given a time limit.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Polls `future` once and returns its output if it is ready. The future may be polled again.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Runs `future` and returns its output and the time since its first wait; `None` if it never
/// waited. The clock is not read for a future that never waits.
pub(crate) async fn time_from_first_wait<F: Future>(
    mut future: Pin<&mut F>,
) -> (F::Output, Option<Duration>) {
    let mut since: Option<Instant> = None;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready((output, since.map(|since| since.elapsed()))),
        Poll::Pending => {
            since.get_or_insert_with(Instant::now);
            Poll::Pending
        }
    })
    .await
}

/// The time limit passed before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedOut;

/// Runs `future` for at most `limit`; a limit of zero is no limit.
pub(crate) async fn with_timeout<T>(
    limit: Duration,
    future: impl Future<Output = T>,
) -> Result<T, TimedOut> {
    if limit.is_zero() {
        return Ok(future.await);
    }
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| TimedOut)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::time_from_first_wait;

    #[tokio::test]
    async fn what_never_waits_is_not_timed() {
        assert_eq!(time_from_first_wait(pin!(async { 1 })).await, (1, None));
        let (output, took) = time_from_first_wait(pin!(async {
            tokio::task::yield_now().await;
            2
        }))
        .await;
        assert_eq!(output, 2);
        assert!(took.is_some());
    }
}
