//! The runtime as a host embeds it: functions by name, loaded, called and looked after.
//!
//! What is done with functions stands in a file each: how they are loaded, given other code, taken
//! over from another server, and called.

pub mod background_calls;
mod call;
pub(crate) mod call_target;
mod load;
pub(crate) mod once_loader;
pub(crate) mod options;
pub(crate) mod registered_function;
mod reload;
mod replicate;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrite_cache::{Cache, Digest};
use parking_lot::{Mutex, RwLock};

use crate::artifact::ArtifactProvider;
use crate::error::{CallError, Code};
use crate::executor::{Executor, ExecutorError};
use crate::metrics::compile_stats::CompileStats;
use crate::policy::permissions::{AccessPolicy, PermissionsError};
use crate::registry::file::{RegistryContents, RegistryFile, RegistryFileError};
use crate::registry::rollback_guard::Sequences;
use crate::registry::table::{Names, Registry};
use crate::service::background_calls::BackgroundCalls;
use crate::service::options::RuntimeOptions;
use crate::service::registered_function::RegisteredFunction;
use ferrite_protocol::error_chain::ErrorChain;
use ferrite_protocol::keyspace::Keyspace;

pub use crate::service::load::LoadRequest;

/// How often a cache is looked through in which this process has put nothing.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Why a runtime does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nothing to run functions on.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The permissions of functions without any are wrong.
    #[error("the default permissions are wrong")]
    Permissions(#[source] PermissionsError),
    /// The registry cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryFileError),
}

/// Functions by name, loaded, called and looked after. Clones are the same runtime.
///
/// `async` methods run on any executor. The others that say they block belong on a thread that may.
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
    background_calls: BackgroundCalls,
    /// Held shared from an artifact's arrival until its function is registered. Who evicts holds it
    /// alone, so that nothing goes that is about to be pinned.
    arriving: RwLock<()>,
    /// When the cache was last looked through for what is too much, unless it has grown since.
    looked: Mutex<Option<Instant>>,
    options: RuntimeOptions,
}

impl<K: Keyspace> Runtime<K> {
    /// Starts a runtime over `keyspace`, with the functions that its registry remembers.
    ///
    /// Reads one file however many functions there are: their code is fetched when it is needed.
    ///
    /// # Errors
    ///
    /// When the engine cannot be made, or the registry cannot be read.
    pub fn new(
        options: RuntimeOptions,
        keyspace: K,
        cache: Option<Cache>,
    ) -> Result<Self, StartError> {
        let keyspace = Arc::new(keyspace);
        AccessPolicy::new(&options.permissions, |name| keyspace.is_command(name))
            .map_err(StartError::Permissions)?;
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
            let name = record.name.as_bytes().into();
            names.insert(name, Arc::new(RegisteredFunction::lazy(record)));
        }
        Ok(Self(Arc::new(Inner {
            executor: Executor::new(&options.engine, keyspace)?,
            artifacts: ArtifactProvider::new(cache, options.worker.clone(), options.trust.clone()),
            registry: Registry::new(names),
            file,
            sequences: Mutex::new(sequences),
            background_calls: BackgroundCalls::new(options.background),
            arriving: RwLock::default(),
            looked: Mutex::default(),
            options,
        })))
    }

    /// How it is set up.
    #[must_use]
    pub fn options(&self) -> &RuntimeOptions {
        &self.0.options
    }

    /// The host's keyspace.
    #[must_use]
    pub fn keyspace(&self) -> &Arc<K> {
        self.0.executor.keyspace()
    }

    /// The cache, if there is one.
    #[must_use]
    pub fn cache(&self) -> Option<&Cache> {
        self.0.artifacts.cache()
    }

    /// How often code was compiled or found, and how long compiling took.
    #[must_use]
    pub fn compile_stats(&self) -> &CompileStats {
        self.0.artifacts.stats()
    }

    /// The calls in the background.
    #[must_use]
    pub fn background_calls(&self) -> &BackgroundCalls {
        &self.0.background_calls
    }

    /// The function of this name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn function(&self, name: &[u8]) -> Result<Arc<RegisteredFunction<K>>, CallError> {
        self.0
            .registry
            .get(name)
            .ok_or_else(|| CallError::no_function(name))
    }

    /// Every function, in the order of their names.
    #[must_use]
    pub fn functions(&self) -> Vec<Arc<RegisteredFunction<K>>> {
        let mut functions: Vec<_> = self.0.registry.snapshot().values().cloned().collect();
        functions.sort_by(|one, other| one.record().name.cmp(&other.record().name));
        functions
    }
}

impl<K: Keyspace> Inner<K> {
    /// Changes the registry in memory and on disk, or neither.
    fn change<R>(
        &self,
        change: impl FnOnce(&mut Names<RegisteredFunction<K>>, &mut Sequences) -> Result<R, CallError>,
    ) -> Result<R, CallError> {
        self.registry.change(|names| {
            let mut current = self.sequences.lock();
            let mut sequences = current.clone();
            let result = change(names, &mut sequences)?;
            if let Some(file) = &self.file {
                file.write(names.values().map(|one| one.record()), &sequences)
                    .map_err(|error| {
                        CallError::new(
                            Code::Store,
                            format!("nothing was changed: {}", ErrorChain(&error)),
                        )
                    })?;
            }
            *current = sequences;
            Ok(result)
        })
    }

    /// Makes room in the cache if it is too large, for all but the functions that are loaded. To find
    /// that out takes a look at every file in it, so that is left out where nothing has `grown`; but
    /// now and then it is done nevertheless, because other processes may have put something in.
    fn evict(&self, grown: bool) {
        let Some(cache) = self.artifacts.cache() else {
            return;
        };
        {
            let mut looked = self.looked.lock();
            if grown {
                *looked = None;
            }
            if looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
                return;
            }
        }
        // Whoever is still loading will evict afterwards.
        let Some(_alone) = self.arriving.try_write() else {
            return;
        };
        *self.looked.lock() = Some(Instant::now());
        let names = self.registry.snapshot();
        let pinned: HashSet<Digest> = names.values().map(|one| one.record().digest).collect();
        if let Err(error) = cache.evict(&pinned) {
            tracing::warn!(error = %ErrorChain(&error), "no room was made in the cache");
        }
    }
}
