//! Runs calls: one engine, its linker, the host's keyspace, and the functions loaded on it.

mod admission;
pub(crate) mod call;
pub(crate) mod function;
pub(crate) mod instantiate;
mod turns;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ferrite_cache::{Profile, VerifiedArtifact};
use parking_lot::Mutex;
use wasmtime::Engine;

use crate::automation::outbox::table::Outbox;
use crate::call::state::StoreData;
use crate::error::CallError;
use crate::executor::function::{EngineModules, Function};
use crate::host::Linkers;
use crate::instance::InstanceHome;
use crate::instance::engine::{EngineError, EngineOptions, engine};
use crate::instance::rewindable::RewindEngine;
use crate::policy::function_spec::FunctionSpec;
use crate::policy::network::client::NetworkClient;
use crate::policy::network::options::NetworkOptions;
use crate::scheduling::moment::Moment;
use crate::scheduling::timer::{IdleOwner, register};
use crate::scheduling::user_share::{CallUser, UserShare};
use crate::scheduling::wait::YieldNow;
use ferrite_protocol::keyspace::Keyspace;

/// Runs calls. A runtime has one.
pub(crate) struct Executor<K: Keyspace> {
    engine: Engine,
    /// Most instances of each of the two engines.
    instances_max: usize,
    linkers: Linkers<K>,
    /// The engine for rewinding, or the reason why this machine cannot rewind.
    rewind_engine: Result<RewindEngine<K>, Box<str>>,
    modules: EngineModules,
    keyspace: K,
    yield_now: Option<YieldNow>,
    network: Arc<NetworkClient>,
    /// The requests that calls commit; `None` if the host sends none.
    outbox: Option<Arc<Outbox>>,
    /// Calls that have waited, or were refused, because their user had its share.
    held_by_share: AtomicU64,
    shared: Arc<Shared<K>>,
}

/// The part of an executor that the timer uses.
struct Shared<K: Keyspace> {
    functions: Mutex<Vec<Weak<Function<K>>>>,
}

/// Reason why an executor does not start.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A host function could not be registered.
    #[error("the host functions cannot be registered: {reason}")]
    Linker {
        /// The error of wasmtime.
        reason: Box<str>,
    },
    /// The timer's thread does not start.
    #[error("the timer's thread cannot be started; raise the limit on processes (ulimit -u)")]
    Timer(#[source] std::io::Error),
}

impl<K: Keyspace> Executor<K> {
    /// Makes an engine for functions of `keyspace`. `yield_now` and `network` are the runtime's options
    /// of these names; `outbox` takes the requests that calls commit.
    ///
    /// # Errors
    ///
    /// Fails if the operating system does not give the address space or the thread.
    pub(crate) fn new(
        options: &EngineOptions,
        keyspace: K,
        yield_now: Option<YieldNow>,
        network: NetworkOptions,
        outbox: Option<Arc<Outbox>>,
    ) -> Result<Self, ExecutorError> {
        let profile = Profile::native();
        let engine = engine(&profile, options)?;
        let rewind_engine = RewindEngine::new(&profile, options);
        if let Err(reason) = &rewind_engine {
            tracing::warn!(
                reason = &**reason,
                "functions with isolation rewind run with isolation fresh"
            );
        }
        let linkers = Linkers::new(&engine).map_err(|error| ExecutorError::Linker {
            reason: format!("{error:#}").into(),
        })?;
        let shared = Arc::new(Shared {
            functions: Mutex::default(),
        });
        let owner: Weak<Shared<K>> = Arc::downgrade(&shared);
        register(owner).map_err(ExecutorError::Timer)?;
        Ok(Self {
            engine,
            instances_max: options.instances_max as usize,
            linkers,
            rewind_engine,
            modules: EngineModules::default(),
            keyspace,
            yield_now,
            network: Arc::new(NetworkClient::new(network)),
            outbox,
            held_by_share: AtomicU64::new(0),
            shared,
        })
    }

    /// Loads a function. Runs none of its code; see [`Executor::prewarm`].
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
            &self.linkers,
            &self.rewind_engine,
            &self.modules,
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

    /// Returns the keyspace of all functions.
    #[must_use]
    pub(crate) fn keyspace(&self) -> &K {
        &self.keyspace
    }

    /// Creates a state for calls of `function`, with empty buffers.
    pub(crate) fn new_state(&self, function: &Function<K>) -> StoreData<K> {
        function.new_state(
            self.keyspace.clone(),
            self.yield_now,
            Arc::clone(&self.network),
            self.outbox.clone(),
        )
    }

    /// Returns the client that sends requests.
    pub(crate) fn network(&self) -> &NetworkClient {
        &self.network
    }

    /// Drops everything that functions keep for later calls, to make room. Returns the number of
    /// instances and buffers.
    pub(crate) fn reclaim(&self) -> usize {
        let functions = self.shared.live();
        functions.iter().map(|function| function.drain()).sum()
    }

    /// Returns an error if few instances are left, and the calls of both the function and the user have
    /// their share of them.
    ///
    /// A quarter of the instances is divided equally among all functions; where several users share
    /// them, one half of it among the functions and one half among the users. Once the other three
    /// quarters are used, only a function or a user with fewer running calls than that gets another
    /// one. So no function can keep another from running, and no user another.
    pub(crate) fn check_share(
        &self,
        function: &Function<K>,
        home: InstanceHome<'_>,
        share: UserShare,
    ) -> Result<(), CallError> {
        if !self.is_scarce(home) {
            return Ok(());
        }
        let functions = self.shared.live();
        let parts = if share.user().is_some() { 2 } else { 1 };
        let reserve = self.instances_max / 4 / parts;
        let of_function = (reserve / functions.len().max(1)).max(1);
        if function.usage().running <= of_function {
            return Ok(());
        }
        let of_user = share.user().map(|user| (user, share.of(reserve)));
        if let Some((user, of_user)) = of_user {
            let gates = functions.iter().map(|function| function.gate());
            if gates.map(|gate| gate.running(user)).sum::<usize>() <= of_user {
                return Ok(());
            }
        }
        if self.reclaim() > 0 && !self.is_scarce(home) {
            return Ok(());
        }
        match of_user {
            Some((user, of_user)) => {
                self.note_held_by_share();
                let user = user.name();
                Err(CallError::user_share_used(
                    &user,
                    of_user,
                    function.name(),
                    of_function,
                ))
            }
            None => Err(CallError::share_used(function.name(), of_function)),
        }
    }

    /// Returns the users that have running calls, and how many, where users share the places.
    pub(crate) fn user_calls(&self) -> Vec<(CallUser, usize)> {
        let mut counts: Vec<(CallUser, usize)> = Vec::new();
        for function in self.shared.live() {
            function.gate().for_each_user(|user, count| {
                match counts.iter_mut().find(|(one, _)| *one == user) {
                    Some((_, sum)) => *sum += count,
                    None => counts.push((user, count)),
                }
            });
        }
        counts
    }

    /// Counts a call that waits, or is refused, because its user has its share.
    pub(crate) fn note_held_by_share(&self) {
        self.held_by_share.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many calls have waited, or were refused, because their user had its share.
    pub(crate) fn held_by_share(&self) -> u64 {
        self.held_by_share.load(Ordering::Relaxed)
    }

    /// Returns true if three quarters of an engine's instances are used.
    fn is_scarce(&self, home: InstanceHome<'_>) -> bool {
        let (used, most) = match home {
            InstanceHome::Pool(engine) => {
                let used = engine
                    .pooling_allocator_metrics()
                    .map_or(0, |metrics| metrics.core_instances());
                (
                    usize::try_from(used).unwrap_or(usize::MAX),
                    self.instances_max,
                )
            }
            InstanceHome::Rewinding(rewinding) => rewinding.instances(),
        };
        used >= most - most / 4
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

impl<K: Keyspace> IdleOwner for Shared<K> {
    fn trim(&self, now: Moment) -> Option<Moment> {
        self.live()
            .iter()
            .filter_map(|function| function.trim(now))
            .min()
    }
}
