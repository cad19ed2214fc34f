//! An instance of a function's module: creation, reset to its first state, and drop.

pub(crate) mod deserialize;
pub mod engine;
pub(crate) mod entry;
pub(crate) mod linked_module;
pub(crate) mod meter;
pub mod rewindable;
pub(crate) mod shared_modules;
pub(crate) mod stack_depth;
pub(crate) mod trap;
pub(crate) mod typed_func;

use std::sync::Arc;

use smallvec::SmallVec;
use wasmtime::{
    Engine, Func, Instance as WasmInstance, PoolConcurrencyLimitError, Store, TypedFunc, Val,
};

use crate::call::host_trap::HostTrap;
use crate::call::settlement;
use crate::call::state::{CallState, StoreData};
use crate::error::CallError;
use crate::instance::linked_module::LinkedModule;
use crate::instance::rewindable::{InstancePermit, Rewinding};
use crate::instance::trap::classify;
use crate::instance::typed_func::ScalarFunc;
use crate::rewind::HOST_PAGE;
use crate::rewind::arena::Arena;
use crate::rewind::snapshot::{InstanceSnapshot, RewindError, Rewinder, Rewound};
use ferrite_protocol::keyspace::Keyspace;

/// An instance of a function's module in a store of its own.
///
/// Only an instance whose last call returned can serve another call; any other is dropped.
pub(crate) struct Instance<K: Keyspace> {
    store: Store<StoreData<K>>,
    instance: WasmInstance,
    mode: Mode,
    /// Each entry, once it was called.
    entries: SmallVec<[Option<EntryFunc>; 2]>,
    buffers: Option<Buffers>,
    /// Resets the instance to its first state, if it is rewound.
    rewinder: Option<Rewinder>,
    /// Dropped after the store.
    _permit: Option<InstancePermit>,
}

/// Way in which an instance's code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// On the stack of the thread that polls the call: the fast way, for calls that end within a
    /// slice. A call that does not, or that has to wait, ends with [`HostTrap::NeedsFiber`] and is
    /// run again.
    Direct,
    /// On a stack of its own, so that the call can yield and wait.
    Fiber,
}

/// Way in which an instance gets its first state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// By running the module's start function and its initialiser.
    Initialize,
    /// The same, for an instance of which a snapshot will be taken: nothing is mapped into its memory, so that
    /// the pages which hold data can be told from the others.
    InitializeForSnapshot,
    /// By taking over a snapshot of another instance.
    FromSnapshot,
}

/// Typed function of an entry.
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

/// Tells if an instance can serve other calls after a failed one.
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

/// Reason why no instance was made.
pub(crate) enum InstantiateError<K: Keyspace> {
    /// The engine has no room for another one. No code of the guest has run.
    Full(StoreData<K>),
    /// The guest has to start on a stack of its own; carries the rest of its state.
    NeedsFiber(StoreData<K>),
    /// The guest failed while it started; carries the rest of its state.
    Guest(CallError, StoreData<K>),
}

impl<K: Keyspace> Instance<K> {
    /// Makes an instance around `state`, whose call has begun, and runs the module's start function
    /// and initialiser with the fuel and time of the call.
    ///
    /// # Errors
    ///
    /// The client's error if the guest fails; the unused state if the engine has no room for
    /// another instance.
    pub(crate) async fn new(
        home: InstanceHome<'_>,
        module: &LinkedModule<K>,
        state: StoreData<K>,
        start: Start,
        mode: Mode,
    ) -> Result<Box<Self>, InstantiateError<K>> {
        let (engine, permit) = match home {
            InstanceHome::Pool(engine) => (engine, None),
            InstanceHome::Rewinding(rewinding) => match rewinding.enter() {
                Some(permit) => (&rewinding.engine, Some(permit)),
                None => return Err(InstantiateError::Full(state)),
            },
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limiter);
        let arena = match home {
            InstanceHome::Pool(_) => None,
            InstanceHome::Rewinding(rewinding) => Some(&rewinding.arena),
        };
        match Self::start(&mut store, module, start, mode, arena).await {
            Ok(instance) => Ok(Box::new(Self {
                store,
                instance,
                mode,
                entries: module.entries().iter().map(|_| None).collect(),
                buffers: None,
                rewinder: None,
                _permit: permit,
            })),
            Err(error) if matches!(error.downcast_ref(), Some(HostTrap::NeedsFiber)) => {
                Err(InstantiateError::NeedsFiber(store.into_data()))
            }
            Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                Err(InstantiateError::Full(store.into_data()))
            }
            Err(error) => {
                // To report what it used. If that is more than it may, its error says so already.
                let _ = settlement::settle(&mut store);
                let error = client_error(&error, store.data(), module);
                Err(InstantiateError::Guest(error, store.into_data()))
            }
        }
    }

    async fn start(
        store: &mut Store<StoreData<K>>,
        module: &LinkedModule<K>,
        start: Start,
        mode: Mode,
        arena: Option<&Arc<Arena>>,
    ) -> wasmtime::Result<WasmInstance> {
        let rewriting = module.rewriting();
        let initial = module.initial().filter(|_| start != Start::FromSnapshot);
        let arena = arena.filter(|_| start == Start::Initialize);
        let wanted = initial
            .filter(|_| arena.is_some())
            .map(InstanceSnapshot::want);
        // This runs no code: the host itself has to run a start function.
        let instance = match mode {
            Mode::Direct => module.pre_direct().instantiate(&mut *store)?,
            Mode::Fiber => module.pre().instantiate_async(&mut *store).await?,
        };
        drop(wanted);
        if let (Some(initial), Some(rewriting)) = (initial, rewriting) {
            initial.begin(&mut *store, &instance, rewriting, arena)?;
        }
        module.meter().connect(&mut *store, &instance, mode)?;
        fill_first_slice(store)?;
        let exports = module.exports();
        if let Some(memory) = &exports.memory {
            let memory = instance
                .get_module_export(&mut *store, memory)
                .and_then(wasmtime::Extern::into_memory);
            store.data_mut().memory = memory;
        }
        let depth = module.depth();
        if let Some(depth) = depth {
            let depth_max = store.data().spec.limits.stack_depth_max;
            depth.limit(&mut *store, &instance, depth_max)?;
        }
        if start == Start::FromSnapshot {
            return Ok(instance);
        }
        // At most one of the passes has removed the start function from the module.
        let function = rewriting
            .and_then(|rewriting| rewriting.start(&mut *store, &instance))
            .or_else(|| depth?.start(&mut *store, &instance))
            .or_else(|| module.meter().start(&mut *store, &instance));
        if let Some(function) = function {
            Self::initialize(store, &instance, function, module, mode).await?;
        }
        if let Some(initialize) = &exports.initialize {
            let initialize = instance
                .get_module_export(&mut *store, initialize)
                .and_then(wasmtime::Extern::into_func);
            if let Some(initialize) = initialize {
                Self::initialize(store, &instance, initialize, module, mode).await?;
            }
        }
        Ok(instance)
    }

    async fn initialize(
        store: &mut Store<StoreData<K>>,
        instance: &WasmInstance,
        function: Func,
        module: &LinkedModule<K>,
        mode: Mode,
    ) -> wasmtime::Result<()> {
        let function = function.typed::<(), ()>(&*store)?;
        let ran = match mode {
            Mode::Direct => function.call(&mut *store, ()),
            Mode::Fiber => function.call_async(&mut *store, ()).await,
        };
        if ran.is_err() {
            note_refused(store, instance, module);
        }
        ran
    }

    /// Takes a snapshot of the instance before its first call, for other instances to start from.
    ///
    /// # Errors
    ///
    /// Fails if there is no memory for it.
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
    /// Fails if its memory cannot be set up; the instance must be dropped then.
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

    /// Resets the instance to its first state. Returns true if it can serve another call.
    #[must_use]
    pub(crate) fn rewind(&mut self, rewinding: &Rewinding) -> bool {
        let Some(rewinder) = &mut self.rewinder else {
            return false;
        };
        if rewinder.rewind(&mut self.store) == Rewound::Discard {
            return false;
        }
        let memory_bytes = rewinder.memory_bytes();
        self.store
            .data_mut()
            .limiter
            .memory_is_rewound(memory_bytes);
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

    /// Gives the instance a whole call's fuel.
    ///
    /// # Errors
    ///
    /// Fails only if the artifact differs from what the compiler creates.
    pub(crate) fn refuel(&mut self) -> wasmtime::Result<()> {
        fill_first_slice(&mut self.store)
    }

    /// Returns the way in which the instance's code runs.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the call's state.
    pub(crate) fn state(&mut self) -> &mut CallState<K> {
        self.store.data_mut()
    }

    /// Returns the fuel used since [`Instance::refuel`] or since the instance was made.
    #[must_use]
    pub(crate) fn fuel_used(&self) -> u64 {
        self.store.data().fuel.used()
    }

    /// Returns the bytes of linear memory that the instance has.
    #[must_use]
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.store.data().limiter.memory_bytes()
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

/// Begins the account of a call and grants its first slice.
fn fill_first_slice<K: Keyspace>(store: &mut Store<StoreData<K>>) -> wasmtime::Result<()> {
    let state = store.data_mut();
    let slice = state.fuel.begin(state.spec.limits.fuel_max);
    let counter = state.fuel.counter()?;
    counter.set(store, Val::I64(slice))
}

/// Reports to the limiter what wasmtime does not tell apart from other traps, so that the error can name
/// it: a call that would nest too deep, which the compiler's own code refused, and the end of a stack in
/// linear memory.
#[cold]
fn note_refused<K: Keyspace>(
    store: &mut Store<StoreData<K>>,
    instance: &WasmInstance,
    module: &LinkedModule<K>,
) {
    if let (Some(depth), Some(limit)) = (module.depth(), store.data().spec.limits.stack_depth_max)
        && depth.exceeded(&mut *store, instance)
    {
        store.data_mut().limiter.note_too_deep(limit);
    }
    if let Some(exports) = module.rewriting()
        && exports.linear_stack_is_used_up(&mut *store, instance)
    {
        store.data_mut().limiter.note_linear_stack();
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
