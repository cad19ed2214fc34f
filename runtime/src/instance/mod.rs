//! An instance of a function's module: made, put back to its first state, and dropped.

pub(crate) mod deserialize;
pub mod engine;
mod entry;
pub(crate) mod linked_module;
pub(crate) mod rewindable;
pub(crate) mod stack_depth;
pub(crate) mod trap;
pub(crate) mod typed_func;

use std::sync::Arc;

use smallvec::SmallVec;
use wasmtime::{
    Engine, Func, Global, Instance as WasmInstance, PoolConcurrencyLimitError, Store, TypedFunc,
    Val,
};

use crate::call::state::{CallState, StoreData};
use crate::error::CallError;
use crate::instance::linked_module::LinkedModule;
use crate::instance::rewindable::{InstancePermit, Rewinding};
use crate::instance::trap::classify;
use crate::instance::typed_func::ScalarFunc;
use crate::rewind::HOST_PAGE;
use crate::rewind::snapshot::{InstanceSnapshot, RewindError, Rewinder, Rewound};
use ferrite_protocol::keyspace::Keyspace;

/// An instance of a function's module in a store of its own.
///
/// Only an instance whose last call returned can serve another call; after anything else it is
/// dropped.
pub(crate) struct Instance<K: Keyspace> {
    store: Store<StoreData<K>>,
    instance: WasmInstance,
    /// The functions of the entries that have been called.
    entries: SmallVec<[Option<EntryFunc>; 2]>,
    buffers: Option<Buffers>,
    /// Puts the instance back to its first state, if it is rewound.
    rewinder: Option<Rewinder>,
    /// Remembers growth that was refused; see `rewind::exports`.
    refused: Option<Global>,
    /// Dropped after the store.
    _permit: Option<InstancePermit>,
}

/// How an instance comes to its first state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// By running the module's start function and its initialiser.
    Initialize,
    /// By taking over a snapshot of another instance.
    FromSnapshot,
}

/// An entry as it is called.
enum EntryFunc {
    Scalar(ScalarFunc),
    Command(TypedFunc<(), ()>),
    Buffer(TypedFunc<(i32, i32), i64>),
}

/// The allocator of a module with buffer entries.
#[derive(Clone)]
struct Buffers {
    alloc: TypedFunc<i32, i32>,
    dealloc: Option<TypedFunc<(i32, i32), ()>>,
}

/// Says if an instance can serve other calls after a failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reusable {
    /// The guest returned; only its reply was wrong.
    Yes,
    /// The guest did not return.
    No,
}

/// The engine in which an instance lives.
#[derive(Clone, Copy)]
pub(crate) enum InstanceHome<'a> {
    /// An engine with pooled memories.
    Pool(&'a Engine),
    /// The engine whose memories can be rewound.
    Rewinding(&'a Rewinding),
}

/// Why no instance was made.
pub(crate) enum InstantiateError<K: Keyspace> {
    /// The engine has no room for another one. Nothing of the guest has run.
    Full(StoreData<K>),
    /// The guest failed while it started; the state it left.
    Guest(CallError, StoreData<K>),
}

impl<K: Keyspace> Instance<K> {
    /// Makes an instance around `state`, whose call has begun, and runs the module's start function
    /// and initialiser on the fuel and time of the call.
    ///
    /// # Errors
    ///
    /// The client's error if the guest fails meanwhile; the unused state if the engine has no room for
    /// another instance.
    pub(crate) async fn new(
        home: InstanceHome<'_>,
        module: &LinkedModule<K>,
        state: StoreData<K>,
        start: Start,
    ) -> Result<Box<Self>, InstantiateError<K>> {
        let (engine, permit) = match home {
            InstanceHome::Pool(engine) => (engine, None),
            InstanceHome::Rewinding(rewinding) => match rewinding.enter() {
                Some(permit) => (&rewinding.engine, Some(permit)),
                None => return Err(InstantiateError::Full(state)),
            },
        };
        let fuel_max = state.spec.limits.fuel_max;
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(|mut context| context.data_mut().tick());
        match Self::start(&mut store, module, fuel_max, start).await {
            Ok(instance) => {
                let refused = module
                    .rewriting()
                    .and_then(|exports| exports.refused(&mut store, &instance));
                Ok(Box::new(Self {
                    store,
                    instance,
                    entries: module.entries().iter().map(|_| None).collect(),
                    buffers: None,
                    rewinder: None,
                    refused,
                    _permit: permit,
                }))
            }
            Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                Err(InstantiateError::Full(store.into_data()))
            }
            Err(error) => {
                let error = client_error(&error, store.data(), module);
                Err(InstantiateError::Guest(error, store.into_data()))
            }
        }
    }

    async fn start(
        store: &mut Store<StoreData<K>>,
        module: &LinkedModule<K>,
        fuel_max: u64,
        start: Start,
    ) -> wasmtime::Result<WasmInstance> {
        let rewriting = module.rewriting();
        // Copying the data segments of a rewritten module uses fuel; no code of the author runs
        // meanwhile.
        store.set_fuel(rewriting.map_or(fuel_max, |_| u64::MAX))?;
        store.set_epoch_deadline(1);
        let instance = module.pre().instantiate_async(&mut *store).await?;
        if rewriting.is_some() {
            store.set_fuel(fuel_max)?;
        }
        let exports = module.exports();
        if let Some(memory) = &exports.memory {
            let memory = instance
                .get_module_export(&mut *store, memory)
                .and_then(wasmtime::Extern::into_memory);
            store.data_mut().memory = memory;
        }
        if let Some(rewriting) = rewriting {
            let memory_bytes_max = store.data().spec.limits.memory_bytes_max;
            rewriting.limit_growth(&mut *store, &instance, memory_bytes_max)?;
        }
        let depth = module.depth();
        if let Some(depth) = depth {
            let depth_max = store.data().spec.limits.stack_depth_max;
            depth.limit(&mut *store, &instance, depth_max)?;
        }
        if start == Start::FromSnapshot {
            return Ok(instance);
        }
        // At most one of the two has taken the start function away from the module.
        let function = rewriting
            .and_then(|rewriting| rewriting.start(&mut *store, &instance))
            .or_else(|| depth?.start(&mut *store, &instance));
        if let Some(function) = function {
            Self::initialize(store, &instance, function, module).await?;
        }
        if let Some(initialize) = &exports.initialize {
            let initialize = instance
                .get_module_export(&mut *store, initialize)
                .and_then(wasmtime::Extern::into_func);
            if let Some(initialize) = initialize {
                Self::initialize(store, &instance, initialize, module).await?;
            }
        }
        Ok(instance)
    }

    async fn initialize(
        store: &mut Store<StoreData<K>>,
        instance: &WasmInstance,
        function: Func,
        module: &LinkedModule<K>,
    ) -> wasmtime::Result<()> {
        let function = function.typed::<(), ()>(&*store)?;
        let ran = function.call_async(&mut *store, ()).await;
        if ran.is_err() {
            note_refused(store, instance, module);
        }
        ran
    }

    /// Takes a snapshot of the instance before its first call, for other instances to start from.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub(crate) fn capture(
        &mut self,
        module: &LinkedModule<K>,
    ) -> Result<Option<Arc<InstanceSnapshot>>, RewindError> {
        module
            .rewriting()
            .map(|exports| InstanceSnapshot::capture(&mut self.store, &self.instance, exports))
            .transpose()
    }

    /// Brings a new instance to the state that its module's calls start from.
    ///
    /// # Errors
    ///
    /// When its memory cannot be set up; the instance must be dropped then.
    pub(crate) fn attach(
        &mut self,
        module: &LinkedModule<K>,
        snapshot: &Arc<InstanceSnapshot>,
        rewinding: &Rewinding,
    ) -> Result<(), RewindError> {
        if let Some(exports) = module.rewriting() {
            let rewinder =
                snapshot.attach(&mut self.store, &self.instance, exports, &rewinding.arena)?;
            self.rewinder = Some(rewinder);
        }
        Ok(())
    }

    /// Puts the instance back to its first state. Returns true if it can serve another call.
    #[must_use]
    pub(crate) fn rewind(&mut self, rewinding: &Rewinding) -> bool {
        let Some(rewinder) = &mut self.rewinder else {
            return false;
        };
        if rewinder.rewind(&mut self.store) == Rewound::Discard {
            return false;
        }
        if rewinding.verify
            && let Some(difference) = rewinder.difference(&mut self.store)
        {
            tracing::error!(
                function = &*self.store.data().spec.name,
                difference,
                "a rewound instance is not as new, and is dropped"
            );
            rewinding.note_difference();
            return false;
        }
        true
    }

    /// Gives the instance the fuel of a whole call, and time until the next tick.
    ///
    /// # Errors
    ///
    /// The engine does not count fuel.
    pub(crate) fn refuel(&mut self) -> wasmtime::Result<()> {
        let fuel_max = self.store.data().spec.limits.fuel_max;
        self.store.set_fuel(fuel_max)?;
        self.store.set_epoch_deadline(1);
        // In a rewound instance it is reset already.
        if let (None, Some(refused)) = (&self.rewinder, self.refused) {
            refused.set(&mut self.store, Val::I32(0))?;
        }
        Ok(())
    }

    /// Returns the state of the call.
    pub(crate) fn state(&mut self) -> &mut CallState<K> {
        self.store.data_mut()
    }

    /// Returns the fuel used since [`Instance::refuel`] or since the instance was made.
    #[must_use]
    pub(crate) fn fuel_used(&self) -> u64 {
        let left = self.store.get_fuel().unwrap_or(0);
        self.store.data().spec.limits.fuel_max.saturating_sub(left)
    }

    /// Returns the bytes of linear memory that the guest sees.
    #[must_use]
    pub(crate) fn memory_bytes(&mut self, module: &LinkedModule<K>) -> u64 {
        module
            .rewriting()
            .and_then(|exports| exports.memory_bytes(&mut self.store, &self.instance))
            .unwrap_or_else(|| self.store.data().limiter.memory_bytes())
    }

    /// Returns the bytes of linear memory that the instance keeps between calls.
    #[must_use]
    pub(crate) fn kept_bytes(&self) -> u64 {
        match &self.rewinder {
            Some(rewinder) => (rewinder.learned_pages() * HOST_PAGE) as u64,
            None => self.store.data().limiter.memory_bytes(),
        }
    }

    /// Drops the instance and keeps the state.
    #[must_use]
    pub(crate) fn into_state(self) -> StoreData<K> {
        let mut state = self.store.into_data();
        state.leave_instance();
        state
    }
}

/// Notes in the limiter what the compiler's code refused, for the error text: growth, or a call that
/// would nest too deep.
#[cold]
fn note_refused<K: Keyspace>(
    store: &mut Store<StoreData<K>>,
    instance: &WasmInstance,
    module: &LinkedModule<K>,
) {
    let refused = module
        .rewriting()
        .and_then(|exports| exports.refused_bytes(&mut *store, instance));
    if let Some(wanted_bytes) = refused {
        store.data_mut().limiter.note_refused(wanted_bytes);
    }
    if let (Some(depth), Some(limit)) = (module.depth(), store.data().spec.limits.stack_depth_max)
        && depth.exceeded(&mut *store, instance)
    {
        store.data_mut().limiter.note_too_deep(limit);
    }
}

#[cold]
fn client_error<K: Keyspace>(
    error: &wasmtime::Error,
    state: &CallState<K>,
    module: &LinkedModule<K>,
) -> CallError {
    classify(
        error,
        &state.spec.limits,
        state.limiter.refused(),
        state.log.last_error(),
        module,
    )
}
