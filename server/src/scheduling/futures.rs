//! Takes what a future has now, without waiting for it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// The output if it is there after one poll. The future may be polled on afterwards.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
