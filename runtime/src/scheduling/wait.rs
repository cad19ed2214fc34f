//! Lets a call wait: until a deadline, with regular stop checks, or for its next turn on the
//! thread.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::scheduling::cancellation::{CallHandle, CallSlot};
use crate::scheduling::moment::Moment;
use crate::scheduling::timer::sleep_until;

/// Interval of the stop checks of a wait that nothing wakes when its call is killed.
const CHECK_EVERY: Duration = Duration::from_millis(5);

/// Reason why a wait ended without the output of its future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitError {
    /// The deadline passed.
    DeadlinePassed,
    /// The caller ended the call.
    Killed,
}

/// Waits for `future` until `deadline` passes or `handle` kills the call.
pub(crate) async fn with_deadline<F: Future>(
    future: F,
    deadline: Moment,
    handle: Option<&CallHandle>,
) -> Result<F::Output, WaitError> {
    let mut future = pin!(future);
    let mut sleep = pin!(sleep_until(deadline));
    poll_fn(|context| {
        if handle.is_some_and(|handle| handle.wake_on_kill(context.waker())) {
            return Poll::Ready(Err(WaitError::Killed));
        }
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        sleep
            .as_mut()
            .poll(context)
            .map(|()| Err(WaitError::DeadlinePassed))
    })
    .await
}

/// Waits for `future`. Calls `check` before the wait and every 5 ms; its first error ends the wait.
pub(crate) async fn with_stop_check<F: Future, E>(
    future: F,
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<F::Output, E> {
    let mut future = pin!(future);
    loop {
        check()?;
        let next_check = Moment::now().after(CHECK_EVERY);
        if let Ok(output) = with_deadline(future.as_mut(), next_check, None).await {
            return Ok(output);
        }
    }
}

/// Waits for `future`, until `check` says that the call must end. It is asked before the wait, when
/// `slot` or `handle` kills the call, and at `deadline`.
pub(crate) async fn until_stopped<F: Future, E>(
    future: F,
    slot: &CallSlot,
    handle: Option<&CallHandle>,
    deadline: Moment,
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<F::Output, E> {
    let mut future = pin!(future);
    let mut sleep = pin!(sleep_until(deadline));
    poll_fn(|context| {
        // Register the waker before checking, or a kill that lands in between is missed.
        slot.set_stop_waker(context.waker());
        if let Some(handle) = handle {
            handle.wake_on_kill(context.waker());
        }
        if let Err(stop) = check() {
            return Poll::Ready(Err(stop));
        }
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        if sleep.as_mut().poll(context).is_ready() {
            // The deadline has passed since the check above.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

/// Makes a future that lets the other tasks of the host's executor run once.
///
/// Without one, a guest's task wakes itself at once and is ready again before the executor has polled
/// its sockets. Tokio then polls them only now and then.
pub type YieldNow = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Gives the thread to other calls once: by `yield_now`, the host's own way to do that, or else
/// returns pending for one poll.
///
/// The call may have to queue behind others that compute. Returns at once if the call was killed or
/// `deadline` has passed. A kill, and the alarm of the deadline (through `slot`), wake the call while
/// it queues, so that an executor that polls woken tasks first ends it at once.
pub(crate) async fn yield_thread(
    slot: Arc<CallSlot>,
    handle: Option<CallHandle>,
    deadline: Moment,
    yield_now: Option<YieldNow>,
) {
    let must_stop = poll_fn(|context| {
        // Register the waker before checking, or a kill that lands in between is missed.
        slot.set_stop_waker(context.waker());
        let killed = handle
            .as_ref()
            .is_some_and(|handle| handle.wake_on_kill(context.waker()));
        Poll::Ready(killed || slot.is_killed() || Moment::now() >= deadline)
    })
    .await;
    if must_stop {
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
