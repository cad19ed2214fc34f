//! The tries of a call: fetch, run, and begin again with what it lacked or what has changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrite_protocol::keyspace::Mode;
use ferrite_protocol::resp::Encoder;
use ferrite_runtime::policy::files::kept::{PendingFiles, ReservedFiles};
use ferrite_runtime::{
    BesideData, CallOutcome, CallRequest, CallResponses, JoinedCall, OuterTransaction, Runtime,
};
use ferrite_store::{Missing, Receipt, Store};
use tokio::time::{sleep, timeout};

use super::kept_values::Space;
use super::listings::{Asked, Listings};
use super::queues::Turns;
use super::script_call::{self, Committed};
use super::snapshot::Snapshot;
use super::wanted::Wanted;
use super::watched::Watched;
use super::writes::Writes;
use super::{GuestThreads, Upstream, Usage};
use crate::account::Account;
use crate::error::UpstreamError;
use crate::pool::Route;
use crate::topology::Redirection;

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

/// Longest pause before a call that was refused begins again.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Pause of a call whose keys another one holds.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(2);

/// Pause before something is sent again to an engine whose connection broke or whose slots move.
pub(super) const REPEAT_PAUSE: Duration = Duration::from_millis(25);

/// Longest time for which a call waits until another server has taken the place of one that fails.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(10);

/// One call, between its tries.
pub(super) struct Run<'a, T> {
    pub(super) threads: &'a T,
    pub(super) upstream: &'a Upstream,
    pub(super) runtime: &'a Runtime<Store>,
    pub(super) request: &'a CallRequest<'a>,
    pub(super) account: &'a Account,
    pub(super) route: Route<'a>,
    /// Values that are kept for later calls.
    pub(super) space: Option<Arc<Space>>,
    pub(super) started: Instant,
    pub(super) time_max: Duration,
    pub(super) usage: &'a Usage,
}

/// A try that ended.
enum Tried {
    /// It ran to its end, which is to be committed.
    Ran {
        writes: Writes,
        /// Its changes in directories that stay.
        files: ReservedFiles,
    },
    /// Another call has changed the same directories.
    Overtaken,
    /// It ended in an error, and nothing is to be committed.
    Failed,
    /// It lacked something.
    Missed(Vec<Missing>),
}

impl<T: GuestThreads> Run<'_, T> {
    pub(super) async fn until_committed(
        &self,
        mut wanted: Wanted,
        reply: &mut Encoder,
    ) -> Result<CallOutcome<Receipt>, UpstreamError> {
        let metrics = &self.upstream.metrics;
        let start = reply.len();
        let (mut tries, mut misses, mut refusals, mut broken) = (0, 0, 0, 0);
        let mut token = String::new();
        let mut unsettled = None;
        let mut watched = self.watched_if_needed(&wanted).await?;
        let mut snapshot = Snapshot::default();
        let mut listings = Listings::default();
        let mut turns = self.turns(&wanted, false).await?;
        let responses = CallResponses::default();
        // True if the snapshot is of values that were kept, and may have changed since.
        let mut is_kept = false;
        let mut may_use_kept = true;
        // A run on kept values that is over, if everything still is as it was read.
        let mut unproved: Option<(Snapshot, JoinedCall<Receipt>, Option<ReservedFiles>)> = None;
        loop {
            if refusals >= REFUSALS_UNTIL_LEASE && watched.is_none() {
                self.take_lease(&mut token, &wanted).await?;
            }
            let kept = match may_use_kept && watched.is_none() && !listings.is_pending() {
                true => self.look_up_kept(&wanted),
                false => None,
            };
            // All of it each time, so that the call sees one moment.
            if let Some(kept) = kept {
                is_kept = true;
                snapshot = kept;
            } else if !wanted.is_empty() || listings.is_pending() {
                is_kept = false;
                let fetched = self.fetch(&wanted, &mut listings, watched.as_mut()).await;
                snapshot = match fetched {
                    Err(error) if watched.is_none() && self.forbids_scripts(&error) => {
                        watched = self.watched_if_needed(&wanted).await?;
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
                    Err(error) => {
                        self.settle(error, &mut unsettled).await?;
                        watched = self.watched_if_needed(&wanted).await?;
                        continue;
                    }
                    Ok(fetched) => fetched,
                };
            }
            if let Some((before, joined, files)) = unproved.take() {
                if before.is_same(&snapshot) {
                    if let Some(files) = files {
                        files.publish();
                    }
                    self.end(watched).await;
                    return Ok(joined.count(tries));
                }
                reply.truncate(start);
            }
            tries += 1;
            metrics.tries.add(1);
            let gathers = misses > MISSES_UNTIL_GATHERING;
            let (joined, tried) = self
                .try_once(&snapshot, &listings, gathers, &responses, reply)
                .await?;
            match tried {
                Tried::Failed if is_kept => {
                    may_use_kept = false;
                    unproved = Some((std::mem::take(&mut snapshot), joined, None));
                    continue;
                }
                Tried::Ran { writes, files }
                    if is_kept && (self.request.profile || writes.is_empty()) =>
                {
                    may_use_kept = false;
                    unproved = Some((std::mem::take(&mut snapshot), joined, Some(files)));
                    continue;
                }
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
                    for (index, missing) in missed.iter().enumerate() {
                        // Only the first is sure: what follows it was asked for without its value.
                        match missing {
                            Missing::Listing(listing) if index == 0 => {
                                listings.want(listing.clone());
                            }
                            missing if index == 0 || !wanted.is_elsewhere(missing) => {
                                wanted.add(missing)?;
                            }
                            _ => {}
                        }
                        // A key that was chosen without the answer must not choose the slot.
                        if wanted.awaits_slot() && matches!(missing, Missing::Listing(_)) {
                            break;
                        }
                    }
                }
                // A script has read everything as of one moment.
                Tried::Ran { writes, files }
                    if self.request.profile || (writes.is_empty() && watched.is_none()) =>
                {
                    files.publish();
                    if !self.request.profile {
                        writes.send_later(self.runtime);
                    }
                    self.end(watched).await;
                    return Ok(joined.count(tries));
                }
                Tried::Overtaken => {
                    refusals += 1;
                    if refusals == REFUSALS_MAX {
                        return Err(UpstreamError::Contended { tries: refusals });
                    }
                    self.pause(refusals).await?;
                }
                Tried::Ran { mut writes, files } => match self
                    .commit(
                        &mut wanted,
                        &snapshot,
                        &mut writes,
                        &token,
                        watched.as_mut(),
                    )
                    .await
                {
                    // Nobody else can change the directories until the files are dropped, so no wait comes first.
                    Err(error) if watched.is_none() && self.forbids_scripts(&error) => {
                        drop(files);
                        watched = self.watched_if_needed(&wanted).await?;
                    }
                    Err(error) => {
                        drop(files);
                        self.settle(error, &mut unsettled).await?;
                        watched = self.watched_if_needed(&wanted).await?;
                    }
                    Ok(Committed::Yes) => {
                        files.publish();
                        writes.send_later(self.runtime);
                        metrics.commits.add(1);
                        self.end(watched).await;
                        return Ok(joined.count(tries));
                    }
                    Ok(Committed::Refused) if is_kept => {
                        drop(files);
                        metrics.commits_refused.add(1);
                        may_use_kept = false;
                        if let Some(space) = &self.space {
                            space.forget(&snapshot);
                        }
                    }
                    Ok(Committed::Refused) => {
                        drop(files);
                        metrics.commits_refused.add(1);
                        may_use_kept = false;
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
                        drop(files);
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
        listings: &Listings,
        gathers: bool,
        responses: &CallResponses,
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
        transaction.lay_listings(listings.known());
        let outer = OuterTransaction::new(transaction);
        let request = CallRequest {
            timeout: Some(self.time_left()?),
            ..*self.request
        };
        let files = PendingFiles::default();
        // The overlay is this call's alone, so nobody waits for it.
        let beside = BesideData {
            files: Some(&files),
            responses: Some(responses),
        };
        let running = self.runtime.call_joined(&request, &outer, beside, reply);
        let running = Box::pin(running);
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
            let requests = transaction.kept_records();
            let commands = transaction.into_commands();
            let commands =
                commands.map_err(|error| UpstreamError::Refused(error.to_string().into()))?;
            let writes = Writes::new(commands, requests, self.upstream.commits_requests);
            match files.reserve() {
                Some(files) => Tried::Ran { writes, files },
                None => Tried::Overtaken,
            }
        };
        Ok((joined, tried))
    }

    /// Returns a connection on which keys can be watched if the account may run no scripts.
    async fn watched_if_needed(&self, wanted: &Wanted) -> Result<Option<Watched>, UpstreamError> {
        let Upstream { pool, .. } = self.upstream;
        if self.upstream.may_script(self.account) {
            return Ok(None);
        }
        let line = pool.exclusive_line(wanted.slot(), self.account, self.request.database);
        Ok(Some(Watched::new(self.within_time(line).await??)))
    }

    /// Returns true if an error says that the account may run no scripts, and remembers it.
    fn forbids_scripts(&self, error: &UpstreamError) -> bool {
        self.upstream.forbids_scripts(self.account, error)
    }

    async fn end(&self, watched: Option<Watched>) {
        if let Some(watched) = watched {
            watched.end(self.usage).await;
        }
    }

    async fn fetch(
        &self,
        wanted: &Wanted,
        listings: &mut Listings,
        watched: Option<&mut Watched>,
    ) -> Result<Snapshot, UpstreamError> {
        let Upstream { fetch, bounds, .. } = self.upstream;
        let since = Instant::now();
        // Before the keys, so that a key that is gone from these is not listed any more.
        let engine = Asked {
            upstream: self.upstream,
            route: &self.route,
            account: self.account,
            database: self.request.database,
            usage: self.usage,
        };
        let listed = self.within_time(listings.fetch(&engine)).await;
        if wanted.is_empty() || !matches!(listed, Ok(Ok(()))) {
            self.usage.note_time(since);
            return listed?.map(|()| Snapshot::default());
        }
        let fetched = match watched {
            Some(watched) => {
                let fetching = watched.fetch(wanted, bounds, self.usage);
                self.within_time(fetching).await
            }
            None => {
                let space = self.space.as_ref();
                let awaited = space.map(|space| (space, space.await_wanted(wanted)));
                let fetching = script_call::fetch(&self.route, fetch, wanted, bounds, self.usage);
                let fetched = self.within_time(fetching).await;
                if let (Some((space, ticket)), Ok(Ok(fetched))) = (awaited, &fetched) {
                    space.keep(ticket, fetched);
                }
                fetched
            }
        };
        self.usage.note_time(since);
        fetched?
    }

    /// Returns all that is wanted, if all of it was kept by earlier calls.
    fn look_up_kept(&self, wanted: &Wanted) -> Option<Snapshot> {
        let space = self.space.as_ref().filter(|_| !wanted.is_empty())?;
        space.look_up(wanted, &self.upstream.bounds)
    }

    /// Waits before the call begins again after an error of a server whose place another one may take, or
    /// whose slots move.
    ///
    /// # Errors
    ///
    /// The error itself, if it is there to stay or the time is over.
    async fn settle(
        &self,
        error: UpstreamError,
        unsettled: &mut Option<Instant>,
    ) -> Result<(), UpstreamError> {
        let topology = self.upstream.topology();
        let since = *unsettled.get_or_insert_with(Instant::now);
        if !topology.fails_over()
            || !error.is_passing()
            || since.elapsed() > SETTLE_TIME_MAX
            || self.time_left()? <= 2 * REPEAT_PAUSE
        {
            return Err(error);
        }
        topology.suspect();
        self.upstream.metrics.waits.add(1);
        if let UpstreamError::Refused(text) = &error
            && let Some(Redirection::Moved { slot, to }) = Redirection::read_named(text)
        {
            topology.moved(slot, &to);
        }
        self.within_time(sleep(REPEAT_PAUSE)).await
    }

    fn time_left(&self) -> Result<Duration, UpstreamError> {
        let limit = self.time_max;
        match limit.checked_sub(self.started.elapsed()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(UpstreamError::Timeout { limit }),
        }
    }

    pub(super) async fn within_time<R>(
        &self,
        work: impl Future<Output = R>,
    ) -> Result<R, UpstreamError> {
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

fn now_millis() -> i64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
        })
}
