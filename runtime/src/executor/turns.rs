//! The turns of a call, after conflicts with others: among calls of its function, at the files that the
//! function keeps, and of its exclusive transaction.
//!
//! They are taken in this order. Whoever has one of them may wait for a permit, as a trigger's call does, which
//! begins within an exclusive transaction. So nobody waits for one of them with a permit.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use ferrite_protocol::keyspace::{Keyspace, Mode as Access};

use crate::call::host_trap::HostTrap;
use crate::call::state::CallState;
use crate::error::CallError;
use crate::executor::call::Run;
use crate::executor::function::Retained;
use crate::scheduling::pool::EnterError;
use crate::scheduling::wait::with_stop_check;

impl<K: Keyspace> Run<'_, K> {
    /// Returns true if the call has to take a turn among those of its function.
    pub(super) fn wants_turn(&self) -> bool {
        self.surroundings.outer.is_none()
            && self.turn.get().is_none()
            && self.params.access != Access::ReadLatest
            && self.function.turn(self.params.keys).is_some()
    }

    /// Takes the turns that the try needs, and begins its exclusive transaction.
    #[cold]
    pub(super) async fn take_turns(
        &self,
        mut retained: Retained<K>,
        exclusive: bool,
    ) -> Result<Retained<K>, CallError> {
        if self.wants_turn() {
            retained = self.take(retained, Wait::Calls).await?;
        }
        if exclusive {
            if self.files_turn.get().is_none() && self.function.spec().kept.is_some() {
                retained = self.take(retained, Wait::Files).await?;
            }
            retained = self.take(retained, Wait::Exclusivity).await?;
        }
        Ok(retained)
    }

    /// Waits for one of them. If it is not there at once, the call gives its permit up until it is, and the
    /// memory of its instance with it.
    async fn take(&self, mut retained: Retained<K>, wait: Wait) -> Result<Retained<K>, CallError> {
        let at_once = {
            let mut waiting = pin!(self.wait_for(wait, retained.state()));
            poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await
        };
        if let Poll::Ready(taken) = at_once {
            return taken.map(|()| retained);
        }
        if let Retained::Instance(instance) = retained {
            retained = Retained::Buffers(instance.into_state());
        }
        drop(self.permit.lock().take());
        let state = retained.state();
        self.wait_for(wait, state).await?;
        let entering = self.function.pool().enter_again();
        let entered = with_stop_check(entering, || state.check_stop()).await;
        match entered.map_err(|stop| stopped(&stop))? {
            Ok(permit) => *self.permit.lock() = Some(permit),
            Err(EnterError::Busy | EnterError::Cancelled) => return Err(CallError::killed()),
        }
        if matches!(wait, Wait::Exclusivity) {
            // The time that it may be exclusive begins now.
            state.begin_exclusive();
        }
        Ok(retained)
    }

    /// Waits for one of them, which the call keeps until it has ended, whatever it takes.
    async fn wait_for(&self, wait: Wait, state: &mut CallState<K>) -> Result<(), CallError> {
        match wait {
            Wait::Calls => {
                if let Some(turn) = self.function.turn(self.params.keys) {
                    let turn = with_stop_check(turn.lock_arc(), || state.check_stop()).await;
                    let _ = self.turn.set(turn.map_err(|stop| stopped(&stop))?);
                }
            }
            Wait::Files => {
                if let Some(kept) = self.function.spec().kept.as_ref() {
                    let turn = with_stop_check(kept.turn(), || state.check_stop()).await;
                    let _ = self.files_turn.set(turn.map_err(|stop| stopped(&stop))?);
                }
            }
            Wait::Exclusivity => {
                let (database, mode) = state.data.transaction_params();
                let beginning = self.executor.keyspace().begin_exclusive(database, mode);
                let transaction = with_stop_check(beginning, || state.check_stop()).await;
                state
                    .data
                    .set_transaction(transaction.map_err(|stop| stopped(&stop))?);
                state.begin_exclusive();
            }
        }
        Ok(())
    }
}

/// Something that a call waits for before a try.
#[derive(Clone, Copy)]
enum Wait {
    /// Its turn among calls of the function.
    Calls,
    /// Its turn at the files that the function keeps.
    Files,
    /// The end of another exclusive transaction.
    Exclusivity,
}

/// The error of a call that was ended while it waited.
fn stopped(stop: &HostTrap) -> CallError {
    match stop {
        HostTrap::Timeout { limit, elapsed } => CallError::timeout(*limit, *elapsed),
        _ => CallError::killed(),
    }
}
