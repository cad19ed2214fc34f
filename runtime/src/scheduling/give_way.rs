//! How a guest that has run for a tick gives others a turn, and comes back soon if it is to end.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use crate::scheduling::cancellation::{CallHandle, Slot};
use crate::scheduling::epoch_ticker::Moment;

/// Makes a future that lets the other tasks of the host's executor run once.
///
/// Without one, a guest's task wakes itself at once and is ready again before the executor has polled
/// its sockets. Tokio then polls them only now and then.
pub type YieldNow = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Gives others a turn, as the host's executor has it or else for one poll.
///
/// The call may have to wait behind others that compute. Whoever ends it meanwhile wakes it, as does
/// the alarm of its `deadline` by way of the slot, so that an executor that lets the woken go first has it end at once.
pub(crate) async fn give_way(
    slot: Arc<Slot>,
    handle: Option<CallHandle>,
    deadline: Moment,
    yield_now: Option<YieldNow>,
) {
    let is_to_end = poll_fn(|context| {
        // First the waker, then the look: what came before wakes nobody, but is seen.
        slot.wake_at_end(context.waker());
        let killed = handle
            .as_ref()
            .is_some_and(|handle| handle.wake_on_kill(context.waker()));
        Poll::Ready(killed || slot.is_killed() || Moment::now() >= deadline)
    })
    .await;
    if is_to_end {
        return;
    }
    match yield_now {
        Some(yield_now) => yield_now().await,
        None => yield_once().await,
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
