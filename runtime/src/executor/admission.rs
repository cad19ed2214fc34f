//! Lets a call in: its permit, and the arguments of its entry.

use std::time::Duration;

use ferrite_cache::EntryKind;

use crate::call::request::CallRequest;
use crate::call::scalar_values::{self, Values};
use crate::error::CallError;
use crate::executor::function::{Function, Retained};
use crate::scheduling::moment::Moment;
use crate::scheduling::pool::{EnterError, PermitGuard};
use crate::scheduling::wait::{WaitError, with_deadline};
use ferrite_protocol::keyspace::Keyspace;

/// Waits for a permit. Returns it with the start of the call if that was read from the clock.
pub(super) async fn enter<'f, K: Keyspace>(
    function: &'f Function<K>,
    request: &CallRequest<'_>,
    time_max: Duration,
) -> Result<(PermitGuard<'f, Retained<K>>, Option<Moment>), CallError> {
    let pool = function.pool();
    if let Some(permit) = pool.try_enter() {
        return Ok((permit, None));
    }
    let started = Moment::now();
    let entered = with_deadline(pool.enter(), started.after(time_max), request.handle).await;
    match entered {
        Ok(Ok(permit)) => Ok((permit, Some(started))),
        Ok(Err(EnterError::Busy)) => {
            let options = pool.options();
            Err(CallError::busy(
                function.name(),
                options.instances_max,
                options.waiting_max,
            ))
        }
        Ok(Err(EnterError::Cancelled)) | Err(WaitError::Killed) => Err(CallError::killed()),
        Err(WaitError::DeadlinePassed) => {
            Err(CallError::timeout(time_max, Moment::now().since(started)))
        }
    }
}

/// Parses the arguments of a scalar entry. Returns none for other entries, which fetch theirs.
pub(super) fn read_args<K: Keyspace>(
    function: &Function<K>,
    index: usize,
    request: &CallRequest<'_>,
) -> Result<Values, CallError> {
    let entry = &function.entries()[index];
    match entry.kind {
        EntryKind::Scalar => scalar_values::read_args(&entry.name, &entry.signature, request.args),
        EntryKind::Command | EntryKind::Buffer => Ok(Values::new()),
    }
}
