//! A loaded function: its spec, its code, its pool, and its running calls.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use async_lock::MutexGuardArc;
use ferrite_cache::{Digest, Manifest, Rewind, VerifiedArtifact, WASM_PAGE_BYTES};
use foldhash::fast::FixedState;
use parking_lot::Mutex;
use wasmtime::{Engine, Module};

use crate::automation::outbox::table::Outbox;
use crate::call::fuel_account::SLICE_UNITS;
use crate::error::{CallError, Code};
use crate::host::Linkers;
use crate::instance::linked_module::LinkedModule;
use crate::instance::rewindable::{RewindEngine, Rewinding};
use crate::instance::shared_modules::SharedModules;
use crate::instance::{Instance, InstanceHome, Mode};
use crate::scheduling::cancellation::{CallId, CallSlot, RunningCall};
use crate::scheduling::per_core::PerCore;
use crate::scheduling::pool::{Pool, PoolUsage};
use crate::scheduling::user_share::UserGate;
use crate::scheduling::wait::YieldNow;
use ferrite_protocol::keyspace::Keyspace;

use crate::call::state::{CallParams, CallState, StoreData};
pub use crate::instance::linked_module::Entry;
pub use crate::instance::rewindable::EffectiveIsolation;
use crate::policy::function_spec::{FunctionSpec, Isolation};
use crate::policy::network::client::NetworkClient;
use crate::scheduling::moment::Moment;

/// Points that a call adds to a function's score if it needed a stack of its own.
const FIBER_SCORE_STEP: u32 = 16;

/// Score from which on calls begin on a stack of their own.
const FIBER_SCORE_NEEDED: u32 = 32;

/// Highest score; each short call takes a point off, so this bounds how long a function counts as
/// slow.
const FIBER_SCORE_MAX: u32 = 128;

/// Score of a function of which a call held its thread; each other call takes a point off.
const HELD_THREAD_SCORE: u32 = 128;

/// Points that a long try adds to a function's score if others changed its keys in between.
const CONFLICT_SCORE_STEP: u32 = 16;

/// Score from which on calls take turns.
const TURNS_SCORE_NEEDED: u32 = 32;

/// Score from which on calls begin exclusively: they conflict although they take turns.
const EXCLUSIVE_SCORE_NEEDED: u32 = 96;

/// Highest score; each call without a conflict takes a point off.
const CONFLICT_SCORE_MAX: u32 = 128;

/// Turns of a function; calls whose first keys differ rarely share one.
const TURNS: usize = 16;

/// The turn of a call: others of the same function wait for its end.
pub(crate) type Turn = MutexGuardArc<()>;

/// A loaded function.
///
/// Loading the same name again makes another function. Running calls finish on this one, and its
/// instances are dropped with the last of them.
pub struct Function<K: Keyspace> {
    spec: Arc<FunctionSpec>,
    manifest: Manifest,
    module: LinkedModule<K>,
    /// Keeps the code for other functions that have the same.
    _shared: Arc<Module>,
    pool: Pool<Retained<K>>,
    /// Stands before the pool.
    gate: UserGate,
    slots: Mutex<Vec<Weak<CallSlot>>>,
    retention: Retention,
    /// Home of instances that are not rewound but start from an image; `None` if they live in the pool.
    image_home: Option<Rewinding>,
    /// Rises with every call that needed a stack of its own; falls slowly with the others.
    fiber_score: AtomicU32,
    /// Rises with every call that held its thread; falls slowly with the others.
    held_thread_score: AtomicU32,
    /// Rises with every long try that was in vain because of a conflict; falls slowly with others.
    conflict_score: AtomicU32,
    /// One for each group of first keys.
    turns: OnceLock<Box<[Arc<async_lock::Mutex<()>>]>>,
    /// Calls of each entry, by its index; `None` if there is only one.
    entry_calls: Option<PerCore<Box<[AtomicU64]>>>,
}

/// The modules in use on each of an executor's engines.
#[derive(Debug, Default)]
pub(crate) struct EngineModules {
    /// On the engine with a pool of instances.
    pooling: SharedModules,
    /// On the engine whose memories can be rewound.
    rewinding: SharedModules,
}

/// Part of a used instance that serves further calls.
pub(crate) enum Retention {
    /// The whole instance, as calls leave it.
    WholeInstance,
    /// Only its buffers.
    BuffersOnly {
        /// The reason, if another isolation was asked for.
        reason: Option<Box<str>>,
    },
    /// The whole instance, reset to its first state.
    Rewound(Rewinding),
}

/// The state that a pool keeps for the next call, depending on the isolation.
pub(crate) enum Retained<K: Keyspace> {
    /// Only the buffers; their instance was dropped.
    Buffers(StoreData<K>),
    /// A whole instance with its memory.
    Instance(Box<Instance<K>>),
}

impl<K: Keyspace> Retained<K> {
    /// Returns the state of the call that uses it.
    pub(crate) fn state(&mut self) -> &mut CallState<K> {
        match self {
            Self::Buffers(state) => state,
            Self::Instance(instance) => instance.state(),
        }
    }
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
        linkers: &Linkers<K>,
        rewind_engine: &Result<RewindEngine<K>, Box<str>>,
        modules: &EngineModules,
        artifact: &VerifiedArtifact,
        spec: FunctionSpec,
    ) -> Result<Self, CallError> {
        let manifest = artifact.manifest().clone();
        check(&manifest, &spec)?;
        let (engine, linkers, retention) = match spec.isolation {
            Isolation::Reuse => (engine, linkers, Retention::WholeInstance),
            Isolation::Fresh => (engine, linkers, Retention::BuffersOnly { reason: None }),
            Isolation::Rewind => match (&manifest.module.rewind, rewind_engine) {
                (Rewind::Allowed(_), Ok(rewind_engine)) => (
                    &rewind_engine.engine,
                    &rewind_engine.linkers,
                    Retention::Rewound(rewind_engine.function()),
                ),
                (Rewind::Refused { reason }, _) => {
                    let reason = Some(reason.as_str().into());
                    (engine, linkers, Retention::BuffersOnly { reason })
                }
                (Rewind::Allowed(_), Err(reason)) => {
                    let reason = Some(reason.clone());
                    (engine, linkers, Retention::BuffersOnly { reason })
                }
            },
        };
        // The pool has memories of wasmtime's alone, and nothing can be mapped into those.
        let image_home = match (&retention, &manifest.image, rewind_engine) {
            (Retention::Rewound(_), ..) | (_, None, _) | (.., Err(_)) => None,
            (_, Some(_), Ok(rewind_engine)) => Some(rewind_engine),
        };
        let (engine, linkers) = match image_home {
            Some(home) => (&home.engine, &home.linkers),
            None => (engine, linkers),
        };
        let modules = match (&retention, image_home) {
            (Retention::Rewound(_), _) | (_, Some(_)) => &modules.rewinding,
            (Retention::WholeInstance | Retention::BuffersOnly { .. }, None) => &modules.pooling,
        };
        let shared = modules
            .get_or_load(engine, artifact)
            .map_err(|error| CallError::new(Code::NoArtifact, error.to_string()))?;
        let module = LinkedModule::new(linkers, &shared, artifact)
            .map_err(|error| CallError::invalid(error.to_string()))?;
        let entries = module.entries().len();
        let none = |_, _| (0..entries).map(|_| AtomicU64::new(0)).collect();
        Ok(Self {
            entry_calls: (entries > 1).then(|| PerCore::new(usize::MAX, none)),
            pool: Pool::new(spec.pool),
            gate: UserGate::new(&spec.pool),
            spec: Arc::new(spec),
            manifest,
            module,
            _shared: shared,
            slots: Mutex::default(),
            retention,
            image_home: image_home.map(RewindEngine::function),
            fiber_score: AtomicU32::new(0),
            held_thread_score: AtomicU32::new(0),
            conflict_score: AtomicU32::new(0),
            turns: OnceLock::new(),
        })
    }

    /// Returns the mode in which a call of the function begins.
    pub(crate) fn mode(&self, params: &CallParams<'_>) -> Mode {
        match self.retention {
            // Calls change the instance for good, so a try cannot be discarded.
            Retention::WholeInstance => Mode::Fiber,
            _ if params.profile || self.needs_fiber() => Mode::Fiber,
            _ => Mode::Direct,
        }
    }

    /// Returns true if calls of the function usually exceed a slice or wait.
    pub(crate) fn needs_fiber(&self) -> bool {
        self.fiber_score.load(Ordering::Relaxed) >= FIBER_SCORE_NEEDED
    }

    /// Records that a call has to run again on a stack of its own.
    #[cold]
    pub(crate) fn note_needs_fiber(&self) {
        let score = self.fiber_score.load(Ordering::Relaxed);
        let score = score.saturating_add(FIBER_SCORE_STEP).min(FIBER_SCORE_MAX);
        self.fiber_score.store(score, Ordering::Relaxed);
    }

    /// Returns true if calls of the function lately held their thread: one operation of the host took
    /// longer than a slice.
    pub(crate) fn holds_thread(&self) -> bool {
        self.held_thread_score.load(Ordering::Relaxed) > 0
    }

    /// Records whether a call held its thread. Writes only if that is new, or calls did so lately.
    pub(crate) fn note_held_thread(&self, held: bool) {
        let score = self.held_thread_score.load(Ordering::Relaxed);
        let next = match held {
            true => HELD_THREAD_SCORE,
            false => score.saturating_sub(1),
        };
        if next != score {
            self.held_thread_score.store(next, Ordering::Relaxed);
        }
    }

    /// Records the fuel used by a call. Writes only if the function was slow before, so that
    /// threads share no data that changes.
    pub(crate) fn note_length(&self, fuel: u64) {
        let score = self.fiber_score.load(Ordering::Relaxed);
        if score > 0 && fuel < SLICE_UNITS {
            self.fiber_score.store(score - 1, Ordering::Relaxed);
        }
    }

    /// Returns the turn that a call with these keys should wait for before it begins; `None` for
    /// most functions, whose calls rarely conflict or are short.
    ///
    /// A long call that conflicts has computed in vain. Calls that take turns do not disturb each
    /// other, and others may still use the data meanwhile.
    #[inline]
    pub(crate) fn turn(&self, keys: &[&[u8]]) -> Option<Arc<async_lock::Mutex<()>>> {
        (self.conflict_score.load(Ordering::Relaxed) >= TURNS_SCORE_NEEDED).then(|| {
            let new = || (0..TURNS).map(|_| Arc::default()).collect();
            let turns = self.turns.get_or_init(new);
            let hash = FixedState::default().hash_one(keys.first());
            // Fewer than 2^32 turns; the remainder fits into an index.
            Arc::clone(&turns[(hash % turns.len() as u64) as usize])
        })
    }

    /// Returns true if calls conflict although they take turns: other commands or functions change
    /// the same keys.
    pub(crate) fn begins_exclusively(&self) -> bool {
        self.conflict_score.load(Ordering::Relaxed) >= EXCLUSIVE_SCORE_NEEDED
    }

    /// Records that a try which used this fuel was in vain because of a conflict.
    #[cold]
    pub(crate) fn note_conflict(&self, fuel: u64) {
        // A short try is soon made again.
        if fuel >= SLICE_UNITS {
            let score = self.conflict_score.load(Ordering::Relaxed);
            let score = (score + CONFLICT_SCORE_STEP).min(CONFLICT_SCORE_MAX);
            self.conflict_score.store(score, Ordering::Relaxed);
        }
    }

    /// Records a call that committed at its first try. Writes only if there were conflicts before, so
    /// that threads share no data that changes.
    pub(crate) fn note_no_conflict(&self) {
        let score = self.conflict_score.load(Ordering::Relaxed);
        if score > 0 {
            self.conflict_score.store(score - 1, Ordering::Relaxed);
        }
    }

    /// Returns the name that calls use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Returns the specification that it was loaded with.
    #[must_use]
    pub fn spec(&self) -> &FunctionSpec {
        &self.spec
    }

    /// Returns the digest of its source.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.manifest.source
    }

    /// Returns the manifest of its code.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns its entries in the module's order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.module.entries()
    }

    /// Returns the index of the entry to call: the entry `named`; else `run`; else the one named like
    /// the function; else the only one.
    ///
    /// # Errors
    ///
    /// `NOFUNC`, with the names of all entries.
    #[inline]
    pub fn entry(&self, named: Option<&[u8]>) -> Result<usize, CallError> {
        self.module.entry(&self.spec.name, named)
    }

    /// Counts a call of an entry.
    #[inline]
    pub(crate) fn count_entry(&self, index: usize) {
        if let Some(calls) = &self.entry_calls
            && let Some(calls) = calls.local().get(index)
        {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of calls of each entry since this code was loaded, in the module's order.
    /// It is empty for a function with one entry, whose calls are those of the function.
    #[must_use]
    pub fn entry_calls(&self) -> Vec<(&str, u64)> {
        let Some(calls) = &self.entry_calls else {
            return Vec::new();
        };
        let count = |index: usize| {
            calls
                .iter()
                .filter_map(|calls| calls.get(index))
                .map(|calls| calls.load(Ordering::Relaxed))
                .sum()
        };
        self.entries()
            .iter()
            .enumerate()
            .map(|(index, entry)| (&*entry.name, count(index)))
            .collect()
    }

    /// Returns the current isolation of its calls, and why it differs from the requested one.
    #[must_use]
    pub fn effective_isolation(&self) -> EffectiveIsolation {
        match &self.retention {
            Retention::WholeInstance => EffectiveIsolation {
                isolation: Isolation::Reuse,
                reason: None,
            },
            Retention::BuffersOnly { reason } => EffectiveIsolation {
                isolation: Isolation::Fresh,
                reason: reason.clone(),
            },
            Retention::Rewound(rewinding) => rewinding.effective_isolation(),
        }
    }

    /// Returns the number of rewound instances that differed from a new one. Counted only with
    /// `EngineOptions::verify_rewinding`.
    #[must_use]
    pub fn rewinding_differences(&self) -> u64 {
        match &self.retention {
            Retention::Rewound(rewinding) => rewinding.differences(),
            Retention::WholeInstance | Retention::BuffersOnly { .. } => 0,
        }
    }

    /// Returns the usage of its pool, with the calls that wait because their user has its share.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        let mut usage = self.pool.usage();
        usage.waiting += self.gate.waiting();
        usage
    }

    /// Returns the bytes of linear memory that idle instances have for themselves: all of it if
    /// instances are reused, only the pages that calls write if they are rewound.
    #[must_use]
    pub fn idle_memory_bytes(&self) -> u64 {
        let mut sum = 0;
        self.pool.for_each_idle(|retained| {
            if let Retained::Instance(instance) = retained {
                sum += instance.kept_bytes();
            }
        });
        sum
    }

    /// Returns the running calls.
    #[must_use]
    pub fn running(&self) -> Vec<RunningCall> {
        self.live_slots()
            .iter()
            .filter_map(|slot| slot.running())
            .collect()
    }

    /// Kills all calls of the function, waiting ones included. Returns the number of running ones.
    ///
    /// A running call ends with its slice of fuel and leaves no trace.
    pub fn kill_all(&self) -> usize {
        self.pool.cancel_waiting();
        self.gate.cancel_waiting();
        let slots = self.live_slots();
        slots.iter().filter(|slot| slot.kill(None)).count()
    }

    /// Kills one call. Returns true if it was running on this function.
    pub fn kill(&self, id: CallId) -> bool {
        self.live_slots().iter().any(|slot| slot.kill(Some(id)))
    }

    /// Drops everything kept for later calls. Returns the number of instances and buffers.
    pub fn drain(&self) -> usize {
        self.pool.drain().len()
    }

    pub(crate) fn module(&self) -> &LinkedModule<K> {
        &self.module
    }

    /// Returns true if an instance that calls share has memory enough left for the next one.
    ///
    /// Functions in some languages take a little more in each call and never give it back. A new instance
    /// takes over before one of them would end in `MEMORY`.
    #[must_use]
    pub(crate) fn leaves_room(&self, memory_bytes: u64) -> bool {
        let limit = self.spec.limits.memory_bytes_max;
        memory_bytes <= (limit - limit / 4).max(initial_memory_bytes(&self.manifest))
    }

    pub(crate) fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Returns the place where the function's instances live; `pool` is that of most.
    pub(crate) fn home<'a>(&'a self, pool: &'a Engine) -> InstanceHome<'a> {
        match (&self.retention, &self.image_home) {
            (Retention::Rewound(rewinding), _) | (_, Some(rewinding)) => {
                InstanceHome::Rewinding(rewinding)
            }
            (Retention::WholeInstance | Retention::BuffersOnly { .. }, None) => {
                InstanceHome::Pool(pool)
            }
        }
    }

    pub(crate) fn pool(&self) -> &Pool<Retained<K>> {
        &self.pool
    }

    pub(crate) fn gate(&self) -> &UserGate {
        &self.gate
    }

    /// Drops old instances. Returns when to do so again.
    pub(crate) fn trim(&self, now: Moment) -> Option<Moment> {
        let (old, next) = self.pool.trim(now);
        drop(old);
        next
    }

    /// Creates the state for a call when none was kept.
    #[cold]
    pub(crate) fn new_state(
        &self,
        keyspace: K,
        yield_now: Option<YieldNow>,
        network: Arc<NetworkClient>,
        outbox: Option<Arc<Outbox>>,
    ) -> StoreData<K> {
        let spec = Arc::clone(&self.spec);
        let state = CallState::new(keyspace, yield_now, network, outbox, spec);
        let mut slots = self.slots.lock();
        if slots.len() == slots.capacity() {
            slots.retain(|slot| slot.strong_count() > 0);
        }
        slots.push(Arc::downgrade(&state.slot));
        Box::new(state)
    }

    fn live_slots(&self) -> Vec<Arc<CallSlot>> {
        self.slots.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// Returns the memory that instances begin with.
fn initial_memory_bytes(manifest: &Manifest) -> u64 {
    let memory = manifest.module.memory.as_ref();
    memory.map_or(0, |memory| memory.min_pages.saturating_mul(WASM_PAGE_BYTES))
}

/// Refuses at load a function that could never run, rather than at every call.
fn check(manifest: &Manifest, spec: &FunctionSpec) -> Result<(), CallError> {
    let limits = &spec.limits;
    let memory_bytes = initial_memory_bytes(manifest);
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
