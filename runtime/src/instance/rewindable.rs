//! Where rewound instances live, and what each function that is rewound knows of its own.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ferrite_cache::{Profile, RewindPlan};
use wasmtime::Engine;

use crate::host::Linkers;
use crate::instance::engine::{EngineOptions, rewinding_engine};
use crate::policy::function_spec::Isolation;
use crate::rewind::arena::Arena;
use crate::rewind::snapshot::InstanceSnapshot;
use ferrite_protocol::keyspace::Keyspace;

/// The engine of instances that are rewound, whose memories are our own.
pub(crate) struct RewindEngine<K: Keyspace> {
    pub(crate) engine: Engine,
    pub(crate) linkers: Linkers<K>,
    arena: Arc<Arena>,
    instance_limit: Arc<InstanceLimit>,
    verify: bool,
}

impl<K: Keyspace> RewindEngine<K> {
    /// Makes the engine; the pooling one must have been made before.
    ///
    /// # Errors
    ///
    /// Why this machine does not allow it, to follow "because".
    pub(crate) fn new(profile: &Profile, options: &EngineOptions) -> Result<Self, Box<str>> {
        let (engine, arena) = rewinding_engine(profile, options)
            .map_err(|error| format!("this machine does not allow it: {error:#}"))?;
        let linkers = Linkers::new(&engine).map_err(|error| format!("{error:#}"))?;
        Ok(Self {
            engine,
            linkers,
            arena,
            instance_limit: Arc::new(InstanceLimit {
                used: AtomicUsize::new(0),
                instances_max: options.instances_max as usize,
            }),
            verify: options.verify_rewinding,
        })
    }

    /// What a function is rewound with.
    pub(crate) fn function(&self, plan: &RewindPlan) -> Rewinding {
        Rewinding {
            engine: self.engine.clone(),
            arena: Arc::clone(&self.arena),
            instance_limit: Arc::clone(&self.instance_limit),
            headroom_pages: plan.headroom_pages,
            verify: self.verify,
            snapshot: OnceLock::new(),
            not_shared: OnceLock::new(),
            differences: AtomicU64::new(0),
        }
    }
}

/// How a function's instances are rewound.
pub(crate) struct Rewinding {
    pub(crate) engine: Engine,
    pub(crate) arena: Arc<Arena>,
    instance_limit: Arc<InstanceLimit>,
    headroom_pages: u64,
    /// Whether every rewound instance is compared with its pristine state.
    pub(crate) verify: bool,
    snapshot: OnceLock<Arc<InstanceSnapshot>>,
    /// Why no state is shared after all: every call is initialised by itself.
    not_shared: OnceLock<Box<str>>,
    differences: AtomicU64,
}

impl Rewinding {
    /// The state that calls start from, once an instance was initialised.
    pub(crate) fn snapshot(&self) -> Option<&Arc<InstanceSnapshot>> {
        self.snapshot.get()
    }

    /// Keeps the state that calls start from; the first one stays.
    pub(crate) fn share(&self, snapshot: Arc<InstanceSnapshot>) -> &Arc<InstanceSnapshot> {
        self.snapshot.get_or_init(|| snapshot)
    }

    /// Initialises every call by itself from now on, because of what initialisation does.
    pub(crate) fn share_nothing(&self, reason: Box<str>) {
        let _ = self.not_shared.set(reason);
    }

    /// Whether calls start from a shared state.
    pub(crate) fn shares(&self) -> bool {
        self.not_shared.get().is_none()
    }

    /// Notes that a rewound instance was not what it should be.
    pub(crate) fn note_difference(&self) {
        self.differences.fetch_add(1, Ordering::Relaxed);
    }

    /// Rewound instances that were not what they should be, where that is looked at.
    pub(crate) fn differences(&self) -> u64 {
        self.differences.load(Ordering::Relaxed)
    }

    /// Room for one more instance.
    pub(crate) fn enter(&self) -> Option<InstancePermit> {
        self.instance_limit.enter()
    }

    /// What calls are isolated by at this moment.
    pub(crate) fn effective_isolation(&self) -> EffectiveIsolation {
        if let Some(reason) = self.not_shared.get() {
            return EffectiveIsolation::fresh(reason.clone());
        }
        if self.snapshot().is_some_and(|snapshot| snapshot.demoted()) {
            let pages = self.headroom_pages;
            return EffectiveIsolation::fresh(
                format!("its calls grow the memory past the {pages} pages that are set aside")
                    .into(),
            );
        }
        EffectiveIsolation {
            isolation: Isolation::Rewind,
            reason: None,
        }
    }
}

/// The isolation that a function really has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveIsolation {
    /// The kind.
    pub isolation: Isolation,
    /// Why it is another than was asked for, to follow "because".
    pub reason: Option<Box<str>>,
}

impl EffectiveIsolation {
    /// Fresh, instead of rewind.
    pub(crate) fn fresh(reason: Box<str>) -> Self {
        Self {
            isolation: Isolation::Fresh,
            reason: Some(reason),
        }
    }
}

/// How many instances the engine without a pool may have.
#[derive(Debug)]
struct InstanceLimit {
    used: AtomicUsize,
    instances_max: usize,
}

impl InstanceLimit {
    fn enter(self: &Arc<Self>) -> Option<InstancePermit> {
        let entered = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                (used < self.instances_max).then_some(used + 1)
            });
        entered.ok().map(|_| InstancePermit(Arc::clone(self)))
    }
}

/// One instance's place in the room.
#[derive(Debug)]
pub(crate) struct InstancePermit(Arc<InstanceLimit>);

impl Drop for InstancePermit {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::Relaxed);
    }
}
