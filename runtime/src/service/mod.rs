//! The runtime as a host embeds it: loads, calls and manages functions by name.
//!
//! Each operation has its own file: load, reload, replicate from another server, call.

mod adopt_automation;
pub mod background_calls;
pub(crate) mod call;
pub(crate) mod call_target;
mod configure;
pub(crate) mod guard;
mod load;
pub(crate) mod once_loader;
pub(crate) mod options;
pub(crate) mod outbox;
pub(crate) mod registered_function;
mod reload;
mod replicate;
pub(crate) mod schedules;
pub(crate) mod triggers;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use ferrite_cache::{Cache, Digest};
use parking_lot::{Mutex, RwLock};

use crate::artifact::ArtifactProvider;
use crate::artifact::cache_size::CacheSize;
use crate::artifact::signed_bundle::BundleTerms;
use crate::automation::outbox::table::Outbox;
use crate::automation::schedule::table::Schedules;
use crate::automation::trigger::table::Triggers;
use crate::call::request::CallRequest;
use crate::error::{CallError, Code};
use crate::executor::function::Function;
use crate::executor::{Executor, ExecutorError};
use crate::metrics::compile_stats::CompileStats;
use crate::policy::files::directory::Directory;
use crate::policy::files::kept::KeptByFunction;
use crate::policy::files::table::check_kernel;
use crate::policy::permissions::{AccessPolicy, PermissionsError};
use crate::policy::server_limits::ServerLimits;
use crate::registry::file::{Change, RegistryContents, RegistryFile, RegistryFileError};
use crate::registry::record::Record;
use crate::registry::rollback_guard::{ChangedSequences, Sequences};
use crate::registry::table::{Names, PendingChange, Registry};
use crate::service::background_calls::BackgroundCalls;
use crate::service::options::RuntimeOptions;
use crate::service::registered_function::RegisteredFunction;
use ferrite_protocol::error_chain::ErrorChain;
use ferrite_protocol::keyspace::Keyspace;

pub use crate::service::load::LoadRequest;

/// Reason why a runtime does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine, its linker or the timer does not start.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// This kernel cannot keep functions inside of their directories.
    #[error("directories of functions need openat2, which Linux has since 5.6: {0}")]
    Files(std::io::Error),
    /// The default permissions are wrong.
    #[error("the default permissions are wrong")]
    Permissions(#[source] PermissionsError),
    /// The registry cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryFileError),
}

/// Loads, calls and manages functions by name. Clones are the same runtime.
///
/// `async` methods run on any executor. Call methods that block on a thread that may block.
pub struct Runtime<K: Keyspace>(Arc<Inner<K>>);

impl<K: Keyspace> Clone for Runtime<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<K: Keyspace> {
    executor: Executor<K>,
    artifacts: ArtifactProvider,
    registry: Registry<RegisteredFunction<K>>,
    file: Option<RegistryFile>,
    /// Changed only together with the registry.
    sequences: Mutex<Sequences>,
    /// Changed only together with the registry, whose loaded functions have limits according to these.
    limits: RwLock<ServerLimits>,
    background_calls: BackgroundCalls,
    schedules: Arc<Schedules>,
    triggers: Arc<Triggers>,
    outbox: Option<Arc<Outbox>>,
    /// Locked shared from an artifact's arrival until its function is registered, and exclusively to
    /// evict, so that no artifact is evicted that is about to be pinned.
    arriving: RwLock<()>,
    /// Directories in memory that stay for the functions.
    kept_files: KeptByFunction,
    cache_size: Mutex<CacheSize>,
    options: RuntimeOptions,
}

impl<K: Keyspace> Runtime<K> {
    /// Starts a runtime over `keyspace`, with the functions that its registry remembers.
    ///
    /// Reads only the registry's file: code is loaded when it is needed.
    ///
    /// # Errors
    ///
    /// The engine does not start, or the registry cannot be read.
    pub fn new(
        options: RuntimeOptions,
        keyspace: K,
        cache: Option<Cache>,
    ) -> Result<Self, StartError> {
        AccessPolicy::new(&options.permissions, |name| keyspace.is_command(name))
            .map_err(StartError::Permissions)?;
        if options.directories.iter().any(Directory::is_on_disk) {
            check_kernel().map_err(|error| StartError::Files(error.into()))?;
        }
        let file = options.registry.as_ref().map(RegistryFile::new);
        let mut names = Names::default();
        let RegistryContents {
            functions,
            sequences,
        } = match &file {
            Some(file) => file.read()?,
            None => RegistryContents::default(),
        };
        for record in functions {
            let registered = Arc::new(RegisteredFunction::lazy(record));
            names.insert(registered.record().name.as_bytes(), Arc::clone(&registered));
        }
        let outbox = (options.outbox && keyspace.keeps_records())
            .then(|| Arc::new(Outbox::new(options.network.limits.outbox_max)));
        let runtime = Self(Arc::new(Inner {
            executor: Executor::new(
                &options.engine,
                keyspace,
                options.yield_now,
                options.network.clone(),
                outbox.clone(),
            )?,
            artifacts: ArtifactProvider::new(cache, options.worker.clone(), options.trust.clone()),
            registry: Registry::new(names),
            file,
            sequences: Mutex::new(sequences),
            limits: RwLock::new(ServerLimits {
                defaults: options.limits,
                most: options.limits_max,
            }),
            background_calls: BackgroundCalls::new(options.background),
            schedules: Arc::default(),
            triggers: Arc::default(),
            outbox,
            arriving: RwLock::default(),
            kept_files: KeptByFunction::default(),
            cache_size: Mutex::default(),
            options,
        }));
        runtime.load_schedules();
        runtime.load_outbox();
        runtime.load_triggers();
        runtime.settle_declared();
        Ok(runtime)
    }

    /// Returns the options of the start.
    #[must_use]
    pub fn options(&self) -> &RuntimeOptions {
        &self.0.options
    }

    /// Returns the host's keyspace.
    #[must_use]
    pub fn keyspace(&self) -> &K {
        self.0.executor.keyspace()
    }

    /// Returns the cache, if there is one.
    #[must_use]
    pub fn cache(&self) -> Option<&Cache> {
        self.0.artifacts.cache()
    }

    /// Returns the counters of compilations and of code found in the cache.
    #[must_use]
    pub fn compile_stats(&self) -> &CompileStats {
        self.0.artifacts.stats()
    }

    /// Returns the background calls.
    #[must_use]
    pub fn background_calls(&self) -> &BackgroundCalls {
        &self.0.background_calls
    }

    /// Returns the function of this name.
    ///
    /// # Errors
    ///
    /// `NOFUNC` if there is none.
    pub fn function(&self, name: &[u8]) -> Result<Arc<RegisteredFunction<K>>, CallError> {
        self.0
            .registry
            .get(name)
            .ok_or_else(|| CallError::no_function(name))
    }

    /// Checks that a schedule or a trigger can call `target`, a function's name or `NAME.ENTRY`. The entry is only
    /// checked if the function's code is loaded, because this must not block.
    ///
    /// # Errors
    ///
    /// `NOFUNC` if there is no such function or entry.
    pub(crate) fn check_target(&self, target: &[u8]) -> Result<(), CallError> {
        let request = CallRequest::new(target, &[], &[]);
        let (name, entry) = request.name_and_entry();
        if let Some(function) = self.function(name)?.function() {
            function.entry(entry)?;
        }
        Ok(())
    }

    /// Returns all functions in the order of their names.
    #[must_use]
    pub fn functions(&self) -> Vec<Arc<RegisteredFunction<K>>> {
        let mut functions: Vec<_> = self.0.registry.snapshot().values().cloned().collect();
        functions.sort_by(|one, other| one.record().name.cmp(&other.record().name));
        functions
    }
}

/// The change that leads from one state of the registry to the next.
fn difference<'a, K: Keyspace>(
    before: &'a Names<RegisteredFunction<K>>,
    after: &'a Names<RegisteredFunction<K>>,
    sequences: &'a Sequences,
) -> Change<'a> {
    Change {
        put: after.put_since(before).map(|one| one.record()).collect(),
        remove: after
            .gone_since(before)
            .map(|one| &one.record().name)
            .collect(),
        sequences: sequences.iter().map(|(name, &last)| (name, last)).collect(),
    }
}

impl<K: Keyspace> Inner<K> {
    /// Returns what signed bundles are checked against now.
    fn bundle_terms(&self) -> BundleTerms<'_> {
        self.options.bundle_terms(self.limits.read().defaults)
    }

    /// Makes an entry of a function that has been loaded, in place of the one `before`. Call it while the
    /// registry is changed: if the server's limits have changed since the load, the first use loads the
    /// function again.
    fn entry(
        &self,
        record: Record,
        before: Option<&RegisteredFunction<K>>,
        function: Arc<Function<K>>,
    ) -> RegisteredFunction<K> {
        let limits = self.limits.read().of(&record.limits);
        let up_to_date = limits.is_ok_and(|limits| limits == function.spec().limits);
        // The counters belong to the name.
        let entry = match before {
            Some(before) => before.accepted(record),
            None => RegisteredFunction::lazy(record),
        };
        match up_to_date {
            true => entry.with_code(function),
            false => entry,
        }
    }

    /// Changes the registry in memory and on disk, or in neither.
    fn change<R>(
        &self,
        change: impl FnOnce(
            &mut Names<RegisteredFunction<K>>,
            &mut ChangedSequences<'_>,
        ) -> Result<R, CallError>,
    ) -> Result<R, CallError> {
        let (result, _changing) = self.begin_change(change)?.publish();
        Ok(result)
    }

    /// Changes the registry on disk, and leaves it to the caller when the change is seen in memory.
    fn begin_change<R>(
        &self,
        change: impl FnOnce(
            &mut Names<RegisteredFunction<K>>,
            &mut ChangedSequences<'_>,
        ) -> Result<R, CallError>,
    ) -> Result<PendingChange<'_, RegisteredFunction<K>, R>, CallError> {
        self.registry.begin_change(|names| {
            let mut sequences = self.sequences.lock();
            let mut changed = ChangedSequences::new(&sequences);
            let result = change(names, &mut changed)?;
            let changed = changed.into_changes();
            let replaced: Vec<_> = changed
                .iter()
                .map(|(name, &last)| (name, sequences.insert(name.clone(), last)))
                .collect();
            let before = self.registry.snapshot();
            let change = difference(&before, names, &changed);
            if let Some(file) = &self.file
                && !change.is_empty()
            {
                let records = names.values().map(|one| one.record());
                let written = file.write(&change, names.len(), records, &sequences);
                written.map_err(|error| {
                    for (name, before) in replaced {
                        match before {
                            Some(last) => sequences.insert(name.clone(), last),
                            None => sequences.remove(name),
                        };
                    }
                    CallError::new(
                        Code::Store,
                        format!("nothing was changed: {}", ErrorChain(&error)),
                    )
                })?;
            }
            Ok(result)
        })
    }

    /// Evicts from the cache if it is too large, except the code of registered functions. Measuring
    /// the cache reads the metadata of all its files, so this is skipped while it is known to have room
    /// for the `added` bytes.
    fn evict(&self, added: u64) {
        let Some(cache) = self.artifacts.cache() else {
            return;
        };
        {
            let mut size = self.cache_size.lock();
            size.add(added);
            if !size.may_exceed(cache.size_bytes_max(), Instant::now()) {
                return;
            }
        }
        // A load that is still running evicts afterwards.
        let Some(_alone) = self.arriving.try_write() else {
            return;
        };
        let names = self.registry.snapshot();
        let pinned: HashSet<Digest> = names.values().map(|one| one.record().digest).collect();
        match cache.evict(&pinned) {
            Ok(evicted) => {
                let mut size = self.cache_size.lock();
                size.measured(evicted.left_bytes, Instant::now());
            }
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "no room was made in the cache");
            }
        }
    }
}
