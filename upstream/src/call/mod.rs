//! A call: fetch what it may need, run it on that, and commit by proof.

mod queues;
mod script_call;
pub(crate) mod snapshot;
mod wanted;
mod watched;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferrite_protocol::keyspace::Mode;
use ferrite_protocol::resp::Encoder;
use ferrite_runtime::commands::EngineUse;
use ferrite_runtime::{CallError, CallOutcome, CallRequest, JoinedCall, OuterTransaction, Runtime};
use ferrite_store::{Missing, Receipt, Store, Words};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::account::Account;
use crate::error::UpstreamError;
use crate::marker::Markers;
use crate::metrics::Metrics;
use crate::pool::{Failure, Line, Pool, PoolOptions};
use crate::scripts::Script;
use queues::{Queues, Turns};
use script_call::{Committed, Mark};
use snapshot::{Bounds, Snapshot};
use wanted::Wanted;
use watched::Watched;

/// Most times that the engine may refuse the commit of one call.
const REFUSALS_MAX: u32 = 64;

/// Most tries of one call that lack something.
const MISSES_MAX: u32 = 64;

/// Most times that a call reads again because a connection broke.
const BROKEN_READS_MAX: u32 = 3;

/// Misses after which one run of the function finds as many missing keys as it can.
const MISSES_UNTIL_GATHERING: u32 = 1;

/// Refused commits after which a call holds its keys against other servers.
const REFUSALS_UNTIL_LEASE: u32 = 4;

/// Longest time for which a call holds keys after it has asked for them.
const LEASE: Duration = Duration::from_secs(1);

/// Longest pause before a call that was refused begins again.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Pause of a call whose keys another one holds.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// Longest time in which a commit whose connection broke is sent again.
const REPEAT_TIME_MAX: Duration = Duration::from_secs(10);

/// Pause between two attempts to send it.
const REPEAT_PAUSE: Duration = Duration::from_millis(25);

/// The options of an engine.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// Its connections.
    pub pool: PoolOptions,
    /// The bounds of a call's reads.
    pub bounds: Bounds,
    /// An id that no other server has.
    pub server_id: String,
}

/// An engine on whose data functions run.
#[derive(Debug)]
pub struct Upstream {
    pool: Pool,
    bounds: Bounds,
    fetch: Script,
    commit: Script,
    lease: Script,
    markers: Markers,
    /// Queues of calls that conflict.
    queues: Queues,
    /// Accounts that may not write the key of marks.
    unmarked: Mutex<HashSet<Account>>,
    /// Accounts that may not run scripts.
    unscripted: Mutex<HashSet<Account>>,
    /// An empty store, whose overlays the calls run on.
    store: Store,
    metrics: Metrics,
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

/// One call, between its tries.
struct Run<'a, T> {
    threads: &'a T,
    upstream: &'a Upstream,
    runtime: &'a Runtime<Store>,
    request: &'a CallRequest<'a>,
    account: &'a Account,
    line: Arc<Line>,
    started: Instant,
    time_max: Duration,
    usage: &'a Usage,
}

/// One call's requests to the engine.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) round_trips: AtomicU64,
    micros: AtomicU64,
    pub(crate) read_bytes: AtomicU64,
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
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
        }
    }
}

/// A try that ended.
enum Tried {
    /// It ran to its end, which is to be committed.
    Ran(Vec<Words>),
    /// It ended in an error, and nothing is to be committed.
    Failed,
    /// It lacked something.
    Missed(Vec<Missing>),
}

impl Upstream {
    /// Prepares calls on an engine. Nothing is connected before the first.
    ///
    /// `store` has to be empty: it brings the implementation of the data commands.
    #[must_use]
    pub fn new(options: UpstreamOptions, store: Store) -> Self {
        Self {
            markers: Markers::new(&options.server_id),
            pool: Pool::new(options.pool),
            bounds: options.bounds,
            fetch: Script::fetch(),
            commit: Script::commit(),
            lease: Script::lease(),
            queues: Queues::default(),
            unmarked: Mutex::default(),
            unscripted: Mutex::default(),
            store,
            metrics: Metrics::default(),
        }
    }

    /// Returns the settings of connections.
    #[must_use]
    pub fn pool_options(&self) -> &PoolOptions {
        self.pool.options()
    }

    /// Returns a name that nobody else has.
    pub(crate) fn new_token(&self) -> String {
        self.markers.token()
    }

    /// Returns a connection of an account in a database.
    pub(crate) fn line(
        &self,
        account: &Account,
        database: u32,
    ) -> Result<Arc<Line>, UpstreamError> {
        self.pool.line(account, database)
    }

    /// Returns the counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
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
        let (name, _) = request.name_and_entry();
        let registered = runtime.function(name);
        let function = registered.as_ref().ok().and_then(|one| one.function());
        let mut wanted = Wanted::default();
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
        let run = Run {
            threads,
            upstream: self,
            runtime,
            request,
            account,
            line: self.pool.line(account, request.database)?,
            started: Instant::now(),
            usage,
            time_max: request.timeout.map_or(limit, |asked| asked.min(limit)),
        };
        run.until_committed(wanted, reply).await
    }
}

impl<T: GuestThreads> Run<'_, T> {
    async fn until_committed(
        &self,
        mut wanted: Wanted,
        reply: &mut Encoder,
    ) -> Result<CallOutcome<Receipt>, UpstreamError> {
        let metrics = &self.upstream.metrics;
        let start = reply.len();
        let (mut tries, mut misses, mut refusals, mut broken) = (0, 0, 0, 0);
        let mut token = String::new();
        let mut watched = self.watched_if_needed().await?;
        let mut snapshot = Snapshot::default();
        let mut turns = self.turns(&wanted, false).await?;
        loop {
            if refusals >= REFUSALS_UNTIL_LEASE && watched.is_none() {
                self.take_lease(&mut token, &wanted).await?;
            }
            // All of it each time, so that the call sees one moment.
            if !wanted.is_empty() {
                snapshot = match self.fetch(&wanted, watched.as_mut()).await {
                    Err(error) if watched.is_none() && self.forbids_scripts(&error) => {
                        watched = self.watched_if_needed().await?;
                        continue;
                    }
                    // Reading again does no harm.
                    Err(UpstreamError::Broken { .. })
                        if watched.is_none() && broken < BROKEN_READS_MAX =>
                    {
                        broken += 1;
                        self.within_time(sleep(REPEAT_PAUSE)).await?;
                        continue;
                    }
                    fetched => fetched?,
                };
            }
            tries += 1;
            metrics.tries.add(1);
            let gathers = misses > MISSES_UNTIL_GATHERING;
            let (joined, tried) = self.try_once(&snapshot, gathers, reply).await?;
            match tried {
                Tried::Failed => {
                    self.end(watched).await;
                    return Ok(joined.count(tries));
                }
                Tried::Missed(missed) => {
                    misses += 1;
                    metrics.misses.add(1);
                    if misses > MISSES_MAX {
                        return Err(UpstreamError::Unsettled { tries: misses });
                    }
                    for missing in &missed {
                        wanted.add(missing)?;
                    }
                }
                // A script has read everything as of one moment.
                Tried::Ran(commands)
                    if self.request.profile || (commands.is_empty() && watched.is_none()) =>
                {
                    self.end(watched).await;
                    return Ok(joined.count(tries));
                }
                Tried::Ran(commands) => match self
                    .commit(&snapshot, &commands, &token, watched.as_mut())
                    .await
                {
                    Err(error) if watched.is_none() && self.forbids_scripts(&error) => {
                        watched = self.watched_if_needed().await?;
                    }
                    Err(error) => return Err(error),
                    Ok(Committed::Yes) => {
                        metrics.commits.add(1);
                        self.end(watched).await;
                        return Ok(joined.count(tries));
                    }
                    Ok(Committed::Refused) => {
                        metrics.commits_refused.add(1);
                        refusals += 1;
                        if refusals == REFUSALS_MAX {
                            return Err(UpstreamError::Contended { tries: refusals });
                        }
                        if turns.is_empty() {
                            turns = self.turns(&wanted, true).await?;
                        } else {
                            self.pause(refusals).await?;
                        }
                    }
                    Ok(Committed::Held) => {
                        metrics.commits_held_up.add(1);
                        self.within_time(sleep(PAUSE_MIN)).await?;
                    }
                },
            }
            reply.truncate(start);
        }
    }

    /// Runs the function once on what was fetched.
    async fn try_once(
        &self,
        snapshot: &Snapshot,
        gathers: bool,
        reply: &mut Encoder,
    ) -> Result<(JoinedCall<Receipt>, Tried), UpstreamError> {
        let mode = match self.request.read_only {
            true => Mode::Read,
            false => Mode::Write,
        };
        let now = snapshot.now.unwrap_or_else(now_millis);
        let store = &self.upstream.store;
        let mut transaction = store.begin_overlay(self.request.database, mode, now, gathers);
        snapshot.lay(&mut transaction);
        let outer = OuterTransaction::new(transaction);
        let request = CallRequest {
            timeout: Some(self.time_left()?),
            ..*self.request
        };
        let running = Box::pin(self.runtime.call_within(&request, &outer, reply));
        let joined = self
            .threads
            .run(running)
            .await
            .ok_or(UpstreamError::Stopped)?;
        let Some(transaction) = outer.take() else {
            return Ok((joined, Tried::Failed));
        };
        let tried = if !transaction.missing().is_empty() {
            Tried::Missed(transaction.missing().to_vec())
        } else if joined.error().is_some() {
            Tried::Failed
        } else {
            let commands = transaction.into_commands();
            Tried::Ran(commands.map_err(|error| UpstreamError::Refused(error.to_string().into()))?)
        };
        Ok((joined, tried))
    }

    /// Returns a connection on which keys can be watched if the account may run no scripts.
    async fn watched_if_needed(&self) -> Result<Option<Watched>, UpstreamError> {
        let Upstream {
            unscripted, pool, ..
        } = self.upstream;
        if !unscripted.lock().contains(self.account) {
            return Ok(None);
        }
        let line = pool.exclusive_line(self.account, self.request.database);
        Ok(Some(Watched::new(self.within_time(line).await?)))
    }

    /// Returns true if an error says that the account may run no scripts, and remembers it.
    fn forbids_scripts(&self, error: &UpstreamError) -> bool {
        let UpstreamError::Refused(text) = error else {
            return false;
        };
        let text = text.to_ascii_lowercase();
        let forbids = (text.starts_with("noperm") || text.contains("unknown command"))
            && (text.contains("'eval") || text.contains("'script"));
        if forbids && self.upstream.unscripted.lock().insert(self.account.clone()) {
            tracing::info!(account = ?self.account, "scripts are forbidden; calls watch their keys instead");
        }
        forbids
    }

    async fn end(&self, watched: Option<Watched>) {
        if let Some(watched) = watched {
            watched.end(self.usage).await;
        }
    }

    async fn fetch(
        &self,
        wanted: &Wanted,
        watched: Option<&mut Watched>,
    ) -> Result<Snapshot, UpstreamError> {
        let Upstream { fetch, bounds, .. } = self.upstream;
        let since = Instant::now();
        let fetched = match watched {
            Some(watched) => {
                let fetching = watched.fetch(wanted, bounds, self.usage);
                self.within_time(fetching).await
            }
            None => {
                let fetching = script_call::fetch(&self.line, fetch, wanted, bounds, self.usage);
                self.within_time(fetching).await
            }
        };
        self.usage.note_time(since);
        fetched?
    }

    /// Holds the keys of a call that was refused again and again, so that it does not starve.
    ///
    /// Commits of other servers wait; plain clients do not know of it. Without the right to write the
    /// leases, the call goes on without one.
    async fn take_lease(&self, token: &mut String, wanted: &Wanted) -> Result<(), UpstreamError> {
        let Upstream {
            lease,
            markers,
            unmarked,
            metrics,
            ..
        } = self.upstream;
        if unmarked.lock().contains(self.account) {
            return Ok(());
        }
        if token.is_empty() {
            *token = markers.token();
        }
        let key = markers.leases_key();
        loop {
            let asking =
                script_call::lease(&self.line, lease, key, token, LEASE, wanted, self.usage);
            if self.within_time(asking).await?? {
                metrics.leases.add(1);
                return Ok(());
            }
            self.within_time(sleep(PAUSE_MIN)).await?;
        }
    }

    async fn commit(
        &self,
        snapshot: &Snapshot,
        commands: &[Words],
        token: &str,
        watched: Option<&mut Watched>,
    ) -> Result<Committed, UpstreamError> {
        let since = Instant::now();
        let committed = match watched {
            Some(watched) => watched.commit(commands, self.usage).await,
            None => self.commit_for_sure(snapshot, commands, token).await,
        };
        self.usage.note_time(since);
        committed
    }

    /// Commits, and sends the commit again until the engine says what became of it.
    async fn commit_for_sure(
        &self,
        snapshot: &Snapshot,
        commands: &[Words],
        token: &str,
    ) -> Result<Committed, UpstreamError> {
        let Upstream {
            commit,
            markers,
            unmarked,
            metrics,
            ..
        } = self.upstream;
        let marker = markers.mark();
        let marked = !unmarked.lock().contains(self.account);
        let mut sent: Option<Instant> = None;
        loop {
            let mark = marked.then_some(Mark {
                marker: &marker,
                again: sent.is_some(),
                token,
            });
            let (line, mark) = (&self.line, mark.as_ref());
            let outcome =
                script_call::commit(line, commit, snapshot, commands, mark, self.usage).await;
            match outcome {
                Ok(committed) => return Ok(committed),
                Err(Failure::Refused(text)) if sent.is_none() => {
                    if !marked || !text.starts_with("NOPERM") {
                        return Err(UpstreamError::Refused(text));
                    }
                    // It may be for the marker's key alone.
                    let outcome =
                        script_call::commit(line, commit, snapshot, commands, None, self.usage)
                            .await;
                    if !matches!(&outcome, Err(Failure::Refused(_))) {
                        unmarked.lock().insert(self.account.clone());
                    }
                    return outcome.map_err(|failure| match failure {
                        Failure::Unanswered(_) => UpstreamError::OutcomeUnknown,
                        failure => failure.into(),
                    });
                }
                Err(Failure::NotSent(error)) if sent.is_none() => return Err(error),
                Err(Failure::Unanswered(_)) if !marked => {
                    return Err(UpstreamError::OutcomeUnknown);
                }
                Err(failure) => {
                    let since = *sent.get_or_insert_with(Instant::now);
                    let lasting = matches!(&failure, Failure::Refused(text) if !is_transient(text));
                    if lasting || since.elapsed() > REPEAT_TIME_MAX {
                        return Err(UpstreamError::OutcomeUnknown);
                    }
                    metrics.commits_repeated.add(1);
                    sleep(REPEAT_PAUSE).await;
                }
            }
        }
    }

    fn time_left(&self) -> Result<Duration, UpstreamError> {
        let limit = self.time_max;
        match limit.checked_sub(self.started.elapsed()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(UpstreamError::Timeout { limit }),
        }
    }

    async fn within_time<R>(&self, work: impl Future<Output = R>) -> Result<R, UpstreamError> {
        let limit = self.time_max;
        timeout(self.time_left()?, work)
            .await
            .map_err(|_| UpstreamError::Timeout { limit })
    }

    /// Waits for the call's turn at keys over which calls of this server conflict.
    async fn turns(&self, wanted: &Wanted, all: bool) -> Result<Turns<'_>, UpstreamError> {
        let queues = &self.upstream.queues;
        let keys = wanted.keys().iter().map(|(key, _)| &**key);
        self.within_time(queues.wait(keys, all)).await
    }

    /// Waits a little after a refused commit, longer after each further one.
    async fn pause(&self, refusals: u32) -> Result<(), UpstreamError> {
        if refusals == 1 {
            return Ok(());
        }
        let longest = Duration::from_micros(250).saturating_mul(1 << refusals.min(12));
        let pause = longest.min(PAUSE_MAX).mul_f64(fastrand::f64());
        self.within_time(sleep(pause)).await
    }
}

/// Returns true for an error that the engine will not give any more in a while.
fn is_transient(text: &str) -> bool {
    let code = text.split(' ').next().unwrap_or_default();
    matches!(
        code,
        "LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY"
    )
}

fn now_millis() -> i64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
        })
}
