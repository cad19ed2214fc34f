//! A loaded function: what it was told to be, its code, its pool, and the calls it runs.

use std::sync::{Arc, Weak};

use ferrite_cache::{Digest, Manifest, Rewind, VerifiedArtifact};
use parking_lot::Mutex;
use wasmtime::{Engine, Linker};

use crate::error::{CallError, Code};
use crate::instance::Instance;
use crate::instance::deserialize::load;
use crate::instance::linked_module::Prepared;
use crate::instance::rewindable::{RewindEngine, Rewinding};
use crate::scheduling::cancellation::{CallId, RunningCall, Slot};
use crate::scheduling::give_way::YieldNow;
use crate::scheduling::pool::{Pool, PoolUsage};
use ferrite_protocol::keyspace::Keyspace;

use crate::call::state::{CallState, StoreData};
pub use crate::instance::linked_module::Entry;
pub use crate::instance::rewindable::InForce;
use crate::policy::function_spec::{FunctionSpec, Isolation};
use crate::scheduling::epoch_ticker::{Activity, Moment};

/// A loaded function.
///
/// Loading the same name again makes another function; calls that run on this one end on it, and
/// its instances go with the last of them.
pub struct Function<K: Keyspace> {
    spec: Arc<FunctionSpec>,
    manifest: Manifest,
    prepared: Prepared<K>,
    pool: Pool<Kept<K>>,
    slots: Mutex<Vec<Weak<Slot>>>,
    keeps: Keeps,
    /// What the memory has before any growth, with what the guest does not see.
    memory_bytes_start: u64,
}

/// What of an instance serves further calls.
pub(crate) enum Keeps {
    /// All of it, as calls leave it.
    Everything,
    /// Its buffers alone.
    Nothing {
        /// Why that is so, if something else was asked for.
        reason: Option<Box<str>>,
    },
    /// All of it, put back to its first state.
    Rewound(Rewinding),
}

/// What a pool keeps for the next call, as the isolation allows.
pub(crate) enum Kept<K: Keyspace> {
    /// Buffers only; the instance they served is gone.
    State(StoreData<K>),
    /// A whole instance with its memory.
    Instance(Box<Instance<K>>),
}

impl<K: Keyspace> Function<K> {
    /// Loads a function's code and links it.
    ///
    /// # Errors
    ///
    /// The client's error: code that this engine cannot run, or a module that wants more memory or
    /// table elements from the start than its limits allow.
    pub(crate) fn load(
        engine: &Engine,
        linker: &Linker<StoreData<K>>,
        rewind_engine: &Result<RewindEngine<K>, Box<str>>,
        artifact: &VerifiedArtifact,
        spec: FunctionSpec,
    ) -> Result<Self, CallError> {
        let manifest = artifact.manifest().clone();
        check(&manifest, &spec)?;
        let (engine, linker, keeps) = match spec.isolation {
            Isolation::Reuse => (engine, linker, Keeps::Everything),
            Isolation::Fresh => (engine, linker, Keeps::Nothing { reason: None }),
            Isolation::Rewind => match (&manifest.module.rewind, rewind_engine) {
                (Rewind::Allowed(plan), Ok(house)) => (
                    &house.engine,
                    &house.linker,
                    Keeps::Rewound(house.function(plan)),
                ),
                (Rewind::Refused { reason }, _) => {
                    let reason = Some(reason.as_str().into());
                    (engine, linker, Keeps::Nothing { reason })
                }
                (Rewind::Allowed(_), Err(reason)) => {
                    let reason = Some(reason.clone());
                    (engine, linker, Keeps::Nothing { reason })
                }
            },
        };
        let module = load(engine, artifact)
            .map_err(|error| CallError::new(Code::NoArtifact, error.to_string()))?;
        let prepared = Prepared::new(linker, &module, &manifest.module)
            .map_err(|error| CallError::invalid(error.to_string()))?;
        Ok(Self {
            pool: Pool::new(spec.pool),
            spec: Arc::new(spec),
            memory_bytes_start: memory_bytes_start(&manifest),
            manifest,
            prepared,
            slots: Mutex::default(),
            keeps,
        })
    }

    /// The name that it is called by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it was told to be when it was loaded.
    #[must_use]
    pub fn spec(&self) -> &FunctionSpec {
        &self.spec
    }

    /// Identity of its source.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.manifest.source
    }

    /// What is known about its code.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its entries, in the module's order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.prepared.entries()
    }

    /// The entry that a call means: the one it names; else `run`; else the one named like the
    /// function; else the only one.
    ///
    /// # Errors
    ///
    /// `NOFUNC`, with the entries there are.
    #[inline]
    pub fn entry(&self, named: Option<&[u8]>) -> Result<usize, CallError> {
        self.prepared.entry(&self.spec.name, named)
    }

    /// What its calls are isolated by at this moment, and why it is not what was asked for.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        match &self.keeps {
            Keeps::Everything => InForce {
                isolation: Isolation::Reuse,
                reason: None,
            },
            Keeps::Nothing { reason } => InForce {
                isolation: Isolation::Fresh,
                reason: reason.clone(),
            },
            Keeps::Rewound(rewinding) => rewinding.in_force(),
        }
    }

    /// Rewound instances that differed from a new one, where that is looked at
    /// (`EngineOptions::verify_rewinding`).
    #[must_use]
    pub fn rewinding_differences(&self) -> u64 {
        match &self.keeps {
            Keeps::Rewound(rewinding) => rewinding.differences(),
            Keeps::Everything | Keeps::Nothing { .. } => 0,
        }
    }

    /// What runs, waits and is kept.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        self.pool.usage()
    }

    /// Bytes of linear memory that the instances that are kept have for themselves: all of it where
    /// instances are reused, the pages that calls write where they are rewound.
    #[must_use]
    pub fn idle_memory_bytes(&self) -> u64 {
        let mut sum = 0;
        self.pool.for_each_idle(|kept| {
            if let Kept::Instance(instance) = kept {
                sum += instance.kept_bytes();
            }
        });
        sum
    }

    /// The calls that run now.
    #[must_use]
    pub fn running(&self) -> Vec<RunningCall> {
        self.live_slots()
            .iter()
            .filter_map(|slot| slot.running())
            .collect()
    }

    /// Ends every call of the function, those that wait included; how many were running.
    ///
    /// A running call ends at its next tick, and leaves no trace.
    pub fn kill_all(&self) -> usize {
        self.pool.cancel_waiting();
        let slots = self.live_slots();
        slots.iter().filter(|slot| slot.kill(None)).count()
    }

    /// Ends one call; whether it was running on this function.
    pub fn kill(&self, id: CallId) -> bool {
        self.live_slots().iter().any(|slot| slot.kill(Some(id)))
    }

    /// Gives up everything that is kept for later calls; how many instances or buffers that were.
    pub fn drain(&self) -> usize {
        self.pool.drain().len()
    }

    pub(crate) fn prepared(&self) -> &Prepared<K> {
        &self.prepared
    }

    pub(crate) fn keeps(&self) -> &Keeps {
        &self.keeps
    }

    pub(crate) fn pool(&self) -> &Pool<Kept<K>> {
        &self.pool
    }

    pub(crate) fn activity(&self) -> Activity {
        self.pool.activity()
    }

    /// Lets old instances go; when to do so again.
    pub(crate) fn trim(&self, now: Moment) -> Option<Moment> {
        let (old, next) = self.pool.trim(now);
        drop(old);
        next
    }

    /// State for a call when none was kept.
    #[cold]
    pub(crate) fn new_state(&self, keyspace: K, yield_now: Option<YieldNow>) -> StoreData<K> {
        let state = CallState::new(
            keyspace,
            yield_now,
            Arc::clone(&self.spec),
            self.memory_bytes_start,
        );
        let mut slots = self.slots.lock();
        if slots.len() == slots.capacity() {
            slots.retain(|slot| slot.strong_count() > 0);
        }
        slots.push(Arc::downgrade(&state.slot));
        Box::new(state)
    }

    fn live_slots(&self) -> Vec<Arc<Slot>> {
        self.slots.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// Bytes in a page of WebAssembly.
const PAGE_BYTES: u64 = 64 << 10;

/// What the memory has before any growth, with the pages that the compiler added.
fn memory_bytes_start(manifest: &Manifest) -> u64 {
    let module = &manifest.module;
    let headroom_pages = match &module.rewind {
        Rewind::Allowed(plan) => plan.headroom_pages,
        Rewind::Refused { .. } => 0,
    };
    module.memory.as_ref().map_or(0, |memory| {
        memory
            .min_pages
            .saturating_add(headroom_pages)
            .saturating_mul(PAGE_BYTES)
    })
}

/// Refuses what could never run, so that it is said at load and not at every call.
fn check(manifest: &Manifest, spec: &FunctionSpec) -> Result<(), CallError> {
    let limits = &spec.limits;
    let memory_bytes = manifest
        .module
        .memory
        .as_ref()
        .map_or(0, |memory| memory.min_pages.saturating_mul(PAGE_BYTES));
    if memory_bytes > limits.memory_bytes_max {
        return Err(CallError::memory(limits.memory_bytes_max, memory_bytes));
    }
    if limits.stack_depth_max.is_some() && manifest.module.stack_depth.is_none() {
        return Err(CallError::new(
            Code::NoArtifact,
            "the code does not count how deep its calls nest, which max_stack_depth needs; compile it with ferrite-wasmc compile --stack-depth",
        ));
    }
    let table_elements = manifest.module.table_elements_min;
    if table_elements > limits.table_elements_max {
        return Err(CallError::limit(format!(
            "the module starts with {table_elements} table elements, its limit is {}; raise max_table_elements",
            limits.table_elements_max
        )));
    }
    Ok(())
}
