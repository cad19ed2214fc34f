//! Lets a call in: its permit, and the arguments of its entry.

use std::time::Duration;

use ferrite_cache::EntryKind;

use crate::call::request::CallRequest;
use crate::call::scalar_values::{self, Values};
use crate::error::CallError;
use crate::executor::Executor;
use crate::executor::function::{Function, Retained};
use crate::scheduling::moment::Moment;
use crate::scheduling::pool::{EnterError, PermitGuard};
use crate::scheduling::user_share::{CallUser, GatePass};
use crate::scheduling::wait::{WaitError, with_deadline};
use ferrite_protocol::keyspace::Keyspace;

/// The right of a call to run: its permit, its start if that was read from the clock, and its pass as a
/// call of its user, if it is counted for one.
type Entered<'f, K> = (
    PermitGuard<'f, Retained<K>>,
    Option<Moment>,
    Option<GatePass<'f>>,
);

impl<K: Keyspace> Executor<K> {
    /// Waits until the call's user has room, then for a permit.
    pub(super) async fn enter<'f>(
        &self,
        function: &'f Function<K>,
        request: &CallRequest<'_>,
        time_max: Duration,
    ) -> Result<Entered<'f, K>, CallError> {
        let (gate, pool) = (function.gate(), function.pool());
        let pass = gate.try_enter(request.user);
        if pass.is_some()
            && let Some(permit) = pool.try_enter()
        {
            return Ok((permit, None, pass.flatten()));
        }
        let started = Moment::now();
        let entering = async {
            let pass = match pass {
                Some(pass) => pass,
                None => {
                    self.note_held_by_share();
                    let entered = gate.enter(request.user).await;
                    entered.map_err(|error| (error, request.user.user()))?
                }
            };
            let permit = pool.enter().await.map_err(|error| (error, None))?;
            Ok::<_, (EnterError, Option<CallUser>)>((permit, pass))
        };
        let entered = with_deadline(entering, started.after(time_max), request.handle).await;
        match entered {
            Ok(Ok((permit, pass))) => Ok((permit, Some(started), pass)),
            Ok(Err((EnterError::Busy, user))) => {
                let options = pool.options();
                Err(match user {
                    Some(user) => {
                        let running = gate.running(user);
                        CallError::user_busy(
                            &user.name(),
                            function.name(),
                            running,
                            options.waiting_max,
                        )
                    }
                    None => {
                        CallError::busy(function.name(), options.instances_max, options.waiting_max)
                    }
                })
            }
            Ok(Err((EnterError::Cancelled, _))) | Err(WaitError::Killed) => {
                Err(CallError::killed())
            }
            Err(WaitError::DeadlinePassed) => {
                Err(CallError::timeout(time_max, Moment::now().since(started)))
            }
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
