//! How calls come to instances: made from nothing, or brought to the state that all calls share.

use std::sync::Arc;

use ferrite_wasm_abi::wasi::PREVIEW1;

use crate::call::state::{Beginning, StoreData};
use crate::error::{CallError, Code};
use crate::executor::Executor;
use crate::executor::function::{Function, Keeps};
use crate::instance::rewindable::Rewinding;
use crate::instance::{Home, Instance, NewError, Start};
use crate::metrics::host_calls::HostCall;
use crate::rewind::pristine::{Pristine, RewindError};
use ferrite_protocol::keyspace::Keyspace;

/// Where a call's instance comes from that none was kept for.
pub(crate) enum First<K: Keyspace> {
    /// It was made just now, and the state of all others taken from it. No call of it has begun.
    Made(Box<Instance<K>>),
    /// It takes over this state.
    Shared(Arc<Pristine>),
}

impl<K: Keyspace> Executor<K> {
    /// Makes an instance; where the engine is full, others give up what they keep for later. An
    /// error comes with the state that the guest left behind, if it ran.
    pub(crate) async fn instantiate(
        &self,
        function: &Function<K>,
        state: StoreData<K>,
        start: Start,
    ) -> Result<Box<Instance<K>>, (CallError, Option<StoreData<K>>)> {
        let home = match function.keeps() {
            Keeps::Rewound(rewinding) => Home::Rewinding(rewinding),
            Keeps::Everything | Keeps::Nothing { .. } => Home::Pool(self.engine()),
        };
        let mut state = state;
        for _ in 0..2 {
            match Instance::new(home, function.prepared(), state, start).await {
                Ok(instance) => return Ok(instance),
                Err(NewError::Guest(error, state)) => return Err((error, Some(state))),
                Err(NewError::Full(unused)) => state = unused,
            }
            if self.reclaim() == 0 {
                break;
            }
        }
        Err((CallError::engine_full(), None))
    }

    /// An instance in the state that all calls start from.
    pub(crate) async fn rewound(
        &self,
        function: &Function<K>,
        rewinding: &Rewinding,
        pristine: &Arc<Pristine>,
        state: StoreData<K>,
    ) -> Result<Box<Instance<K>>, CallError> {
        let mut instance = self
            .instantiate(function, state, Start::TakeOver)
            .await
            .map_err(|(error, _)| error)?;
        instance
            .attach(function.prepared(), pristine, rewinding)
            .and_then(|()| instance.refuel().map_err(RewindError::from))
            .map_err(|error| not_rewound(&error))?;
        Ok(instance)
    }

    /// The state that all calls start from, or an instance in it: where there is none yet, one is
    /// initialised that sees no keys, no arguments and no data. None where initialisation asks for
    /// those, so that no state can be shared.
    pub(crate) async fn first(
        &self,
        function: &Function<K>,
        rewinding: &Rewinding,
        beginning: &Beginning<'_>,
    ) -> Result<Option<First<K>>, CallError> {
        if let Some(pristine) = rewinding.pristine() {
            return Ok(Some(First::Shared(Arc::clone(pristine))));
        }
        let mut state = self.new_state(function);
        state.begin(&Beginning {
            profile: true,
            time_max: beginning.time_max,
            started: beginning.started,
            handle: beginning.handle,
            ..Beginning::of_nothing()
        });
        let mut made = self.instantiate(function, state, Start::Run).await;
        let state = match &mut made {
            Ok(instance) => Some(instance.state()),
            Err((_, state)) => state.as_deref_mut(),
        };
        let calls = state.and_then(|state| {
            state.end();
            state.host_calls.take()
        });
        let calls = calls.unwrap_or_default();
        let personal = calls
            .as_slice()
            .iter()
            .find(|call| !is_shareable(call.name));
        if let Some(HostCall { name, .. }) = personal {
            rewinding.share_nothing(
                format!("its initialiser calls {name}, and calls differ in that").into(),
            );
            return Ok(None);
        }
        let mut instance = made.map_err(|(error, _)| error)?;
        let taken = instance
            .capture(function.prepared())
            .map_err(|error| not_rewound(&error))?;
        let Some(taken) = taken else {
            return Ok(None);
        };
        let pristine = rewinding.share(Arc::clone(&taken));
        if !Arc::ptr_eq(pristine, &taken) {
            // Another call came first, and this instance may have been initialised otherwise.
            return Ok(Some(First::Shared(Arc::clone(pristine))));
        }
        instance
            .attach(function.prepared(), pristine, rewinding)
            .map_err(|error| not_rewound(&error))?;
        Ok(Some(First::Made(instance)))
    }
}

/// Whether what a host function gave to an initialiser may be seen by every call.
fn is_shareable(host_function: &str) -> bool {
    matches!(host_function, "log" | "time_millis" | "random")
        || PREVIEW1.iter().any(|import| import.name == host_function)
}

#[cold]
fn not_rewound(error: &RewindError) -> CallError {
    CallError::new(
        Code::Trap,
        format!(
            "the function's first state cannot be set up: {error}; load it with isolation fresh"
        ),
    )
}
