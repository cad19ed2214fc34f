//! The options of a runtime.

use std::path::PathBuf;

use ferrite_cache::bundle::BundleLimits;

use crate::artifact::compile_worker::WorkerOptions;
use crate::artifact::signed_bundle::BundleTerms;
use crate::artifact::source::SourceOptions;
use crate::artifact::trust::TrustOptions;
use crate::instance::engine::EngineOptions;
use crate::policy::files::directory::Directory;
use crate::policy::function_spec::Isolation;
use crate::policy::limits::Limits;
use crate::policy::network::options::NetworkOptions;
use crate::policy::permissions::Permissions;
use crate::scheduling::pool::PoolOptions;
use crate::scheduling::wait::YieldNow;
use crate::service::background_calls::BackgroundOptions;

/// The options of a runtime.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Address space of the engine.
    pub engine: EngineOptions,
    /// The limits of functions that give none, at the start; see [`Runtime::limits`].
    ///
    /// [`Runtime::limits`]: crate::Runtime::limits
    pub limits: Limits,
    /// The most that a function may ask for, at the start.
    pub limits_max: Limits,
    /// The permissions of functions that are loaded without any.
    pub permissions: Permissions,
    /// The isolation of functions that are loaded without one.
    pub isolation: Isolation,
    /// The pool of each function.
    pub pool: PoolOptions,
    /// The accepted sources.
    pub source: SourceOptions,
    /// The compile worker.
    pub worker: WorkerOptions,
    /// The keys whose native code is trusted.
    pub trust: TrustOptions,
    /// Largest number of functions.
    pub functions_max: usize,
    /// Longest description of a function, in bytes.
    pub description_bytes_max: usize,
    /// Bounds of the background calls.
    pub background: BackgroundOptions,
    /// Path of the registry's file; without it, all functions are gone after a restart.
    pub registry: Option<PathBuf>,
    /// Directories that functions may ask for in `allow_filesystem`.
    pub directories: Vec<Directory>,
    /// The rules for functions on the network.
    pub network: NetworkOptions,
    /// True if the host sends the requests that calls commit, by [`Runtime::due_request`], and its
    /// keyspace commits them. Without it, `after_commit` is refused.
    ///
    /// [`Runtime::due_request`]: crate::Runtime::due_request
    pub outbox: bool,
    /// False if the host runs no triggers and schedules, although its keyspace keeps records.
    pub automation: bool,
    /// Lets other tasks run while a guest computes for long; without it, the guest's task wakes itself
    /// at once.
    pub yield_now: Option<YieldNow>,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            engine: EngineOptions::default(),
            limits: Limits::DEFAULT,
            limits_max: Limits::GENEROUS,
            permissions: Permissions::default(),
            isolation: Isolation::default(),
            pool: PoolOptions::default(),
            source: SourceOptions::default(),
            worker: WorkerOptions::default(),
            trust: TrustOptions::default(),
            functions_max: 10_000,
            description_bytes_max: 4096,
            background: BackgroundOptions::default(),
            registry: None,
            directories: Vec::new(),
            network: NetworkOptions::default(),
            outbox: false,
            automation: true,
            yield_now: None,
        }
    }
}

impl RuntimeOptions {
    /// Returns what signed bundles are checked against while these are the default limits.
    pub(crate) fn bundle_terms(&self, limits: Limits) -> BundleTerms<'_> {
        BundleTerms {
            trust: &self.trust,
            bounds: BundleLimits {
                source_bytes_max: self.source.source_bytes_max,
                artifact_bytes_max: self.worker.artifact_bytes_max,
            },
            permissions: &self.permissions,
            limits,
            isolation: self.isolation,
        }
    }
}

impl RuntimeOptions {
    /// Sets the default limits and the most that a function may ask for, and lets the engine reserve
    /// as much. Memory is reserved for the largest there is, which takes no more address space.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits, limits_max: Limits) -> Self {
        self.engine.memory_bytes_max = Limits::MEMORY_BYTES_END;
        self.engine.table_elements_max =
            usize::try_from(limits_max.table_elements_max).unwrap_or(usize::MAX);
        self.limits = limits;
        self.limits_max = limits_max;
        self
    }
}
