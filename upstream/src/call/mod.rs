//! A call: fetch what it may need, run it on that, and commit by proof.

mod commit;
pub(crate) mod every_node;
mod kept_values;
mod listings;
mod queues;
mod request_size;
mod run;
mod script_call;
pub(crate) mod snapshot;
mod wanted;
mod watched;
mod writes;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::automation::figures::OutboxUsage;
use ferrite_runtime::commands::EngineUse;
use ferrite_runtime::{CallError, CallOutcome, CallRequest, Runtime};
use ferrite_store::{Receipt, Store};
use parking_lot::Mutex;

use crate::account::Account;
use crate::address::Address;
use crate::error::UpstreamError;
use crate::marker::Markers;
use crate::metrics::Metrics;
use crate::options::PoolOptions;
use crate::pool::{Line, Pool, Route};
use crate::request_state::lease::Lease;
use crate::request_state::turns::RequestTurns;
use crate::scripts::Script;
use crate::topology::Topology;
use kept_values::KeptValues;
use queues::Queues;
use run::Run;
use snapshot::Bounds;
use wanted::Wanted;

pub(crate) use script_call::ScriptRequest;
pub(crate) use watched::refused;

/// The options of an engine.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// Its connections.
    pub pool: PoolOptions,
    /// The bounds of a call's reads.
    pub bounds: Bounds,
    /// Most bytes of values that are kept for later calls, until the engine tells that they have changed; 0 keeps
    /// none. Has no effect with a cluster.
    pub kept_bytes_max: u64,
    /// An id that no other server has.
    pub server_id: String,
    /// True if the requests of calls are committed to the engine, from where one of its servers sends them. Otherwise
    /// a call's requests go into the runtime's own outbox once the call has committed.
    pub commits_requests: bool,
}

/// An engine on whose data functions run.
#[derive(Debug)]
pub struct Upstream {
    pub(crate) pool: Pool,
    bounds: Bounds,
    fetch: Script,
    commit: Script,
    lease: Script,
    /// The script that changes records of requests.
    pub(crate) change_requests: Script,
    markers: Markers,
    /// Queues of calls that conflict.
    queues: Queues,
    /// Accounts that may not write the key of marks.
    unmarked: Mutex<HashSet<Account>>,
    /// Accounts that may not run scripts.
    unscripted: Mutex<HashSet<Account>>,
    /// An empty store, whose overlays the calls run on.
    store: Store,
    /// Values that calls keep for later ones.
    kept: KeptValues,
    /// True if requests of calls are committed to the engine.
    commits_requests: bool,
    /// The right to send requests.
    pub(crate) lease_to_send: Lease,
    /// The slots to look at for requests.
    pub(crate) request_turns: RequestTurns,
    /// The figures of requests that this server has told others last.
    pub(crate) published_usage: Mutex<Option<OutboxUsage>>,
    metrics: Arc<Metrics>,
}

/// Threads that a host has for functions that compute for long.
pub trait GuestThreads: Sync {
    /// Runs `work`, here or elsewhere; returns `None` if the host stops instead.
    fn run<F>(&self, work: F) -> impl Future<Output = Option<F::Output>> + Send
    where
        F: Future<Output: Send> + Unpin + Send;
}

/// Runs every function where its call is polled.
#[derive(Clone, Copy, Debug, Default)]
pub struct SameThread;

impl GuestThreads for SameThread {
    async fn run<F>(&self, work: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Unpin + Send,
    {
        Some(work.await)
    }
}

/// One call's requests to the engine.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) round_trips: AtomicU64,
    micros: AtomicU64,
    pub(crate) read_bytes: AtomicU64,
    listed_bytes: AtomicU64,
}

impl Usage {
    fn note_time(&self, since: Instant) {
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn sum(&self) -> EngineUse {
        EngineUse {
            round_trips: self.round_trips.load(Ordering::Relaxed),
            time: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
            read_bytes: self.read_bytes.load(Ordering::Relaxed)
                + self.listed_bytes.load(Ordering::Relaxed),
        }
    }
}

impl Upstream {
    /// Prepares calls on an engine. Nothing is connected before the first.
    ///
    /// `store` has to be empty: it brings the implementation of the data commands.
    #[must_use]
    pub fn new(options: UpstreamOptions, store: Store) -> Self {
        Self {
            markers: Markers::new(&options.server_id),
            kept: KeptValues::new(options.kept_bytes_max, options.pool.accounts_max),
            pool: Pool::new(options.pool),
            bounds: options.bounds,
            fetch: Script::fetch(),
            commit: Script::commit(),
            lease: Script::lease(),
            change_requests: Script::change_requests(),
            queues: Queues::default(),
            unmarked: Mutex::default(),
            unscripted: Mutex::default(),
            store,
            commits_requests: options.commits_requests,
            lease_to_send: Lease::new(&options.server_id),
            request_turns: RequestTurns::default(),
            published_usage: Mutex::default(),
            metrics: Arc::default(),
        }
    }

    /// Returns the settings of connections.
    #[must_use]
    pub fn pool_options(&self) -> &PoolOptions {
        self.topology().options()
    }

    /// Returns a name that nobody else has.
    pub(crate) fn new_token(&self) -> String {
        self.markers.token()
    }

    /// Returns the engine's servers.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        self.pool.topology()
    }

    /// Returns the way of an account's requests in a database.
    pub(crate) fn route<'a>(
        &'a self,
        account: &'a Account,
        database: u32,
    ) -> Result<Route<'a>, UpstreamError> {
        self.pool.route(account, database)
    }

    /// Returns a connection of an account in a database to one node.
    pub(crate) fn node_line(
        &self,
        node: &Address,
        account: &Account,
        database: u32,
    ) -> Result<Arc<Line>, UpstreamError> {
        self.pool.line(Some(node.clone()), account, database)
    }

    /// Returns true if an account may run scripts, as far as it is known.
    pub(crate) fn may_script(&self, account: &Account) -> bool {
        !self.unscripted.lock().contains(account)
    }

    /// Returns true if an error says that the account may run no scripts, and remembers it.
    pub(crate) fn forbids_scripts(&self, account: &Account, error: &UpstreamError) -> bool {
        let UpstreamError::Refused(text) = error else {
            return false;
        };
        let text = text.to_ascii_lowercase();
        let forbids = (text.starts_with("noperm") || text.contains("unknown command"))
            && (text.contains("'eval") || text.contains("'script"));
        if forbids && self.unscripted.lock().insert(account.clone()) {
            tracing::info!(?account, "scripts are forbidden; keys are watched instead");
        }
        forbids
    }

    /// Returns the counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Returns the bytes of the values that are kept for later calls.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.kept.bytes()
    }

    /// Runs one call with the rights of `account`, and writes exactly one reply, errors included.
    ///
    /// If the future is dropped before the commit was sent, the call has no effect.
    pub async fn call(
        &self,
        runtime: &Runtime<Store>,
        threads: &impl GuestThreads,
        request: &CallRequest<'_>,
        account: &Account,
        reply: &mut Encoder,
    ) -> (CallOutcome<Receipt>, EngineUse) {
        self.metrics.calls.add(1);
        let start = reply.len();
        let usage = Usage::default();
        let ran = self
            .run(runtime, threads, request, account, &usage, reply)
            .await;
        let outcome = match ran {
            Ok(outcome) => outcome,
            Err(error) => {
                self.metrics.failures.add(1);
                reply.truncate(start);
                reply.error(error.reply());
                CallOutcome::failed(CallError::from(error))
            }
        };
        let usage = usage.sum();
        self.metrics.round_trips.add(usage.round_trips);
        (outcome, usage)
    }

    async fn run(
        &self,
        runtime: &Runtime<Store>,
        threads: &impl GuestThreads,
        request: &CallRequest<'_>,
        account: &Account,
        usage: &Usage,
        reply: &mut Encoder,
    ) -> Result<CallOutcome<Receipt>, UpstreamError> {
        let started = Instant::now();
        let (name, _) = request.name_and_entry();
        let registered = runtime.function(name);
        let function = registered.as_ref().ok().and_then(|one| one.function());
        let mut wanted = Wanted::new(self.topology().is_cluster());
        for key in request.keys {
            wanted.choose_slot(key)?;
        }
        // Without the function's code, its permissions are not known yet, and its first try misses.
        if let Some(function) = function {
            let policy = &function.spec().access_policy;
            for key in request.keys.iter().filter(|key| policy.visible(key)) {
                wanted.add_key(key)?;
            }
        }
        let limit = function.map_or(runtime.options().limits.time_max, |function| {
            function.spec().limits.time_max
        });
        let time_max = request.timeout.map_or(limit, |asked| asked.min(limit));
        let (kept, pool, database) = (&self.kept, &self.pool, request.database);
        let space = match self.may_script(account) {
            true => {
                // It may open a connection.
                let space = kept.space(pool, &self.metrics, account, database);
                let space = tokio::time::timeout(time_max, space).await;
                space.map_err(|_| UpstreamError::Timeout { limit: time_max })?
            }
            false => None,
        };
        let route = match &space {
            Some(space) => pool.route_by(account, database, &space.line),
            None => pool.route(account, database)?,
        };
        let run = Run {
            threads,
            upstream: self,
            runtime,
            request,
            account,
            route,
            space,
            started,
            usage,
            time_max,
        };
        run.until_committed(wanted, reply).await
    }
}
