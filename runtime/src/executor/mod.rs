//! Runs calls: one engine, its linker, the host's keyspace, and the functions loaded on it.

pub(crate) mod call;
pub(crate) mod function;
pub(crate) mod instantiate;

use std::sync::{Arc, Weak};

use ferrite_cache::{Profile, VerifiedArtifact};
use parking_lot::Mutex;
use wasmtime::{Engine, Linker};

use crate::call::state::StoreData;
use crate::error::CallError;
use crate::executor::function::Function;
use crate::host::linker;
use crate::instance::engine::{EngineError, EngineOptions, engine};
use crate::instance::rewindable::RewindEngine;
use crate::policy::function_spec::FunctionSpec;
use crate::scheduling::epoch_ticker::{Activity, Moment, TickListener, register};
use ferrite_protocol::keyspace::Keyspace;

/// Runs calls. A runtime has one.
pub(crate) struct Executor<K: Keyspace> {
    engine: Engine,
    linker: Linker<StoreData<K>>,
    /// The engine for rewinding, or why this machine has none.
    rewind_engine: Result<RewindEngine<K>, Box<str>>,
    keyspace: Arc<K>,
    shared: Arc<Shared<K>>,
}

/// The part of an executor that the ticker uses.
struct Shared<K: Keyspace> {
    engine: Engine,
    rewind_engine: Option<Engine>,
    functions: Mutex<Vec<Weak<Function<K>>>>,
}

/// Why an executor does not start.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A host function could not be registered.
    #[error("the host functions cannot be registered: {reason}")]
    Linker {
        /// What wasmtime says.
        reason: Box<str>,
    },
    /// The thread of the ticker does not start.
    #[error("the ticker's thread cannot be started; raise the limit on processes (ulimit -u)")]
    Ticker(#[source] std::io::Error),
}

impl<K: Keyspace> Executor<K> {
    /// Makes an engine that functions of `keyspace` run on.
    ///
    /// # Errors
    ///
    /// The operating system refuses the address space or the thread.
    pub(crate) fn new(options: &EngineOptions, keyspace: Arc<K>) -> Result<Self, ExecutorError> {
        let profile = Profile::native();
        let engine = engine(&profile, options)?;
        let rewind_engine = RewindEngine::new(&profile, options);
        if let Err(reason) = &rewind_engine {
            tracing::warn!(
                reason = &**reason,
                "functions with isolation rewind run with isolation fresh"
            );
        }
        let linker = linker(&engine).map_err(|error| ExecutorError::Linker {
            reason: format!("{error:#}").into(),
        })?;
        let shared = Arc::new(Shared {
            engine: engine.clone(),
            rewind_engine: rewind_engine
                .as_ref()
                .ok()
                .map(|rewind| rewind.engine.clone()),
            functions: Mutex::default(),
        });
        let listener: Weak<Shared<K>> = Arc::downgrade(&shared);
        register(listener).map_err(ExecutorError::Ticker)?;
        Ok(Self {
            engine,
            linker,
            rewind_engine,
            keyspace,
            shared,
        })
    }

    /// Loads a function. It runs nothing of it yet; see [`Executor::prewarm`].
    ///
    /// [`Executor::prewarm`]: crate::executor::Executor::prewarm
    ///
    /// # Errors
    ///
    /// The client's error: code that this engine cannot run, or a module that wants more memory or
    /// table elements from the start than its limits allow.
    pub(crate) fn load(
        &self,
        artifact: &VerifiedArtifact,
        spec: FunctionSpec,
    ) -> Result<Arc<Function<K>>, CallError> {
        let function = Arc::new(Function::load(
            &self.engine,
            &self.linker,
            &self.rewind_engine,
            artifact,
            spec,
        )?);
        let mut functions = self.shared.functions.lock();
        if functions.len() == functions.capacity() {
            functions.retain(|function| function.strong_count() > 0);
        }
        functions.push(Arc::downgrade(&function));
        Ok(function)
    }

    /// Returns the keyspace that functions work on.
    #[must_use]
    pub(crate) fn keyspace(&self) -> &Arc<K> {
        &self.keyspace
    }

    /// Drops what functions keep for later calls, to make room. Returns the number of instances and
    /// buffers.
    pub(crate) fn reclaim(&self) -> usize {
        let functions = self.shared.live();
        functions.iter().map(|function| function.drain()).sum()
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl<K: Keyspace> Shared<K> {
    fn live(&self) -> Vec<Arc<Function<K>>> {
        self.functions
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }
}

impl<K: Keyspace> TickListener for Shared<K> {
    fn tick(&self) {
        self.engine.increment_epoch();
        if let Some(engine) = &self.rewind_engine {
            engine.increment_epoch();
        }
    }

    fn activity(&self) -> Activity {
        self.live().iter().map(|function| function.activity()).fold(
            Activity::default(),
            |sum, one| Activity {
                running: sum.running + one.running,
                started: sum.started.wrapping_add(one.started),
            },
        )
    }

    fn trim(&self, now: Moment) -> Option<Moment> {
        self.live()
            .iter()
            .filter_map(|function| function.trim(now))
            .min()
    }
}
