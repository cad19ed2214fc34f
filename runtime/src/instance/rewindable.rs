//! The engine of rewound instances, and the state of rewinding of each function.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ferrite_cache::Profile;
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
    /// The reason why this machine does not allow it, to follow "because".
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

    /// Creates the rewinding of one function.
    pub(crate) fn function(&self) -> Rewinding {
        Rewinding {
            engine: self.engine.clone(),
            arena: Arc::clone(&self.arena),
            instance_limit: Arc::clone(&self.instance_limit),
            verify: self.verify,
            snapshot: OnceLock::new(),
            not_shared: OnceLock::new(),
            differences: AtomicU64::new(0),
        }
    }
}

/// Rewinding of a function's instances.
pub(crate) struct Rewinding {
    pub(crate) engine: Engine,
    pub(crate) arena: Arc<Arena>,
    instance_limit: Arc<InstanceLimit>,
    /// True if each rewound instance is compared with its snapshot.
    pub(crate) verify: bool,
    snapshot: OnceLock<Arc<InstanceSnapshot>>,
    /// Reason why no snapshot is shared, so that each call initialises its own instance.
    not_shared: OnceLock<Box<str>>,
    differences: AtomicU64,
}

impl Rewinding {
    /// Returns the number of instances of all functions, and the most.
    pub(crate) fn instances(&self) -> (usize, usize) {
        let limit = &self.instance_limit;
        (limit.used.load(Ordering::Relaxed), limit.instances_max)
    }

    /// Returns the snapshot that calls start from, once an instance was initialised.
    pub(crate) fn snapshot(&self) -> Option<&Arc<InstanceSnapshot>> {
        self.snapshot.get()
    }

    /// Stores the snapshot that calls start from; the first one stays. Returns the stored one.
    pub(crate) fn share(&self, snapshot: Arc<InstanceSnapshot>) -> &Arc<InstanceSnapshot> {
        self.snapshot.get_or_init(|| snapshot)
    }

    /// Makes each call initialise its own instance from now on, for `reason`.
    pub(crate) fn share_nothing(&self, reason: Box<str>) {
        let _ = self.not_shared.set(reason);
    }

    /// Returns true if calls start from a shared snapshot.
    pub(crate) fn shares(&self) -> bool {
        self.not_shared.get().is_none()
    }

    /// Counts a rewound instance that differed from the snapshot.
    pub(crate) fn note_difference(&self) {
        self.differences.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of rewound instances that differed from the snapshot.
    pub(crate) fn differences(&self) -> u64 {
        self.differences.load(Ordering::Relaxed)
    }

    /// Returns a permit for another instance, if there is room.
    pub(crate) fn enter(&self) -> Option<InstancePermit> {
        self.instance_limit.enter()
    }

    /// Returns the isolation that calls have at this moment.
    pub(crate) fn effective_isolation(&self) -> EffectiveIsolation {
        if let Some(reason) = self.not_shared.get() {
            return EffectiveIsolation::fresh(reason.clone());
        }
        EffectiveIsolation {
            isolation: Isolation::Rewind,
            reason: None,
        }
    }
}

/// The isolation that a function has in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveIsolation {
    /// The kind.
    pub isolation: Isolation,
    /// Reason why it differs from the one asked for, to follow "because".
    pub reason: Option<Box<str>>,
}

impl EffectiveIsolation {
    /// Makes an isolation that is fresh instead of rewind.
    pub(crate) fn fresh(reason: Box<str>) -> Self {
        Self {
            isolation: Isolation::Fresh,
            reason: Some(reason),
        }
    }
}

/// Bounds the instances of the engine that has no pool.
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

/// The permit of one instance; given back when dropped.
#[derive(Debug)]
pub(crate) struct InstancePermit(Arc<InstanceLimit>);

impl Drop for InstancePermit {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::Relaxed);
    }
}
