//! Makes instances for calls: new ones, or in the state that all calls share.

use std::sync::Arc;

use ferrite_wasm_abi::wasi::PREVIEW1;

use crate::call::state::{CallParams, StoreData};
use crate::error::{CallError, Code};
use crate::executor::Executor;
use crate::executor::function::Function;
use crate::instance::rewindable::Rewinding;
use crate::instance::{Instance, InstantiateError, Mode, Start};
use crate::metrics::host_calls::HostCall;
use crate::rewind::snapshot::{InstanceSnapshot, RewindError};
use crate::scheduling::user_share::UserShare;
use ferrite_protocol::keyspace::Keyspace;

/// Reason why a call got no instance, and the fuel that the attempt used.
pub(crate) struct NoInstance {
    pub(crate) error: CallError,
    pub(crate) fuel: u64,
}

impl NoInstance {
    /// Makes the reason of a guest that failed while it started. `state` is what it left behind.
    pub(crate) fn after<K: Keyspace>(error: CallError, state: Option<StoreData<K>>) -> Self {
        let fuel = state.map_or(0, |state| state.fuel.used());
        Self { error, fuel }
    }
}

impl From<CallError> for NoInstance {
    fn from(error: CallError) -> Self {
        Self { error, fuel: 0 }
    }
}

/// Reason why there is no instance.
pub(crate) enum NotMade<K: Keyspace> {
    /// The client's error, with the state that the guest left behind, if it ran.
    Failed(CallError, Option<StoreData<K>>),
    /// Initialisation takes longer than a slice, or waits: use [`Mode::Fiber`]. Carries the rest of
    /// the state.
    NeedsFiber(StoreData<K>),
}

impl<K: Keyspace> NotMade<K> {
    /// Returns the client's error, if the mode was [`Mode::Fiber`] or no code of the guest ran.
    pub(crate) fn into_error(self) -> CallError {
        match self {
            Self::Failed(error, _) => error,
            Self::NeedsFiber(_) => CallError::new(
                Code::Trap,
                "the call needs a stack of its own and has none, which is a bug",
            ),
        }
    }
}

impl<K: Keyspace> Executor<K> {
    /// Makes an instance for a call of `user`. If the engine is full, first drops the idle instances of
    /// all functions. An error carries the guest's state if the guest ran.
    pub(crate) async fn instantiate(
        &self,
        function: &Function<K>,
        state: StoreData<K>,
        start: Start,
        mode: Mode,
        user: UserShare,
    ) -> Result<Box<Instance<K>>, NotMade<K>> {
        let home = function.home(self.engine());
        if let Err(error) = self.check_share(function, home, user) {
            return Err(NotMade::Failed(error, None));
        }
        let mut state = state;
        for _ in 0..2 {
            match Instance::new(home, function.module(), state, start, mode).await {
                Ok(instance) => return Ok(instance),
                Err(InstantiateError::Guest(error, state)) => {
                    return Err(NotMade::Failed(error, Some(state)));
                }
                Err(InstantiateError::NeedsFiber(state)) => return Err(NotMade::NeedsFiber(state)),
                Err(InstantiateError::Full(unused)) => state = unused,
            }
            if self.reclaim() == 0 {
                break;
            }
        }
        Err(NotMade::Failed(CallError::engine_full(), None))
    }

    /// Makes an instance in the state that all calls start from.
    pub(crate) async fn rewound(
        &self,
        function: &Function<K>,
        rewinding: &Rewinding,
        snapshot: &Arc<InstanceSnapshot>,
        state: StoreData<K>,
        mode: Mode,
        user: UserShare,
    ) -> Result<Box<Instance<K>>, CallError> {
        let mut instance = self
            .instantiate(function, state, Start::FromSnapshot, mode, user)
            .await
            .map_err(NotMade::into_error)?;
        instance
            .attach(function.module(), snapshot, rewinding)
            .map_err(|error| not_rewound(&error))?;
        Ok(instance)
    }

    /// Returns the state that all calls start from. The first time, it initialises an instance that
    /// sees no keys, no arguments and no data. Returns `None` if the initialisation asks for those:
    /// then no state can be shared.
    pub(crate) async fn first(
        &self,
        function: &Function<K>,
        rewinding: &Rewinding,
        params: &CallParams<'_>,
    ) -> Result<Option<Arc<InstanceSnapshot>>, NoInstance> {
        if let Some(snapshot) = rewinding.snapshot() {
            return Ok(Some(Arc::clone(snapshot)));
        }
        if let Some(snapshot) = function.module().known_snapshot() {
            return Ok(Some(Arc::clone(rewinding.share(Arc::clone(snapshot)))));
        }
        let mut state = self.new_state(function);
        state.begin(&CallParams {
            profile: true,
            time_max: params.time_max,
            started: params.started,
            handle: params.handle,
            ..CallParams::without_input()
        });
        let mut made = self
            .instantiate(
                function,
                state,
                Start::InitializeForSnapshot,
                Mode::Fiber,
                params.user,
            )
            .await;
        let state = match &mut made {
            Ok(instance) => Some(instance.state()),
            Err(NotMade::Failed(_, state)) => state.as_deref_mut(),
            Err(NotMade::NeedsFiber(state)) => Some(&mut **state),
        };
        let mut calls = None;
        if let Some(state) = state {
            // Whoever killed it meant the call, which has yet to begin.
            let killed = state.end_part();
            calls = state.host_calls.take();
            if killed && made.is_ok() {
                return Err(CallError::killed().into());
            }
        }
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
        let mut instance = match made {
            Ok(instance) => instance,
            Err(NotMade::Failed(error, state)) => return Err(NoInstance::after(error, state)),
            Err(not_made @ NotMade::NeedsFiber(_)) => return Err(not_made.into_error().into()),
        };
        let taken = instance
            .capture(function.module())
            .map_err(|error| not_rewound(&error))?;
        // If another call was first, its state is the one that all share. The instance has a stack of
        // its own, which most calls do not need, so it is not kept.
        Ok(taken.map(|taken| Arc::clone(rewinding.share(taken))))
    }
}

/// Returns true if an initialiser may use this host function: its result suits every call.
fn is_shareable(host_function: &str) -> bool {
    // A file that is opened belongs to its call.
    if host_function == "path_open" {
        return false;
    }
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
