//! Waiting for something no longer than a call may take, and no longer than it is wanted.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::call::host_trap::HostTrap;
use crate::scheduling::cancellation::CallHandle;
use crate::scheduling::epoch_ticker::{Moment, sleep_until};

/// How often a wait looks whether it is still wanted, where nobody would wake it for that.
const CHECK_EVERY: Duration = Duration::from_millis(5);

/// Waits for `future`, but not past `deadline`, nor after `handle` was told to end the call.
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

/// Waits for `future` and asks `stop` now and then whether the call shall end.
pub(crate) async fn with_stop_check<F: Future>(
    future: F,
    mut stop: impl FnMut() -> Result<(), HostTrap>,
) -> Result<F::Output, HostTrap> {
    let mut future = pin!(future);
    loop {
        stop()?;
        let look = Moment::now().after(CHECK_EVERY);
        if let Ok(output) = with_deadline(future.as_mut(), look, None).await {
            return Ok(output);
        }
    }
}

/// Why a wait ended without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitError {
    /// The deadline passed.
    DeadlinePassed,
    /// The caller ended the call.
    Killed,
}
