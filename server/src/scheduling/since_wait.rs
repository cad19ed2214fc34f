//! Times only what takes long: the clock is first read when a future has to wait.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Runs `step`, and tells how long it took from its first wait on; `None` if it never waited.
pub(crate) async fn since_first_wait<F: Future>(
    mut step: Pin<&mut F>,
) -> (F::Output, Option<Duration>) {
    let mut since: Option<Instant> = None;
    poll_fn(|context| match step.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready((output, since.map(|since| since.elapsed()))),
        Poll::Pending => {
            since.get_or_insert_with(Instant::now);
            Poll::Pending
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::since_first_wait;

    #[tokio::test]
    async fn what_never_waits_is_not_timed() {
        assert_eq!(since_first_wait(pin!(async { 1 })).await, (1, None));
        let (output, took) = since_first_wait(pin!(async {
            tokio::task::yield_now().await;
            2
        }))
        .await;
        assert_eq!(output, 2);
        assert!(took.is_some());
    }
}
