//! Runs a call: loads the function's code if necessary, executes it, and counts it however it ends.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ferrite_cache::Digest;

use super::{Inner, Runtime};
use crate::artifact::Depth;
use crate::call::outer_transaction::OuterTransaction;
use crate::call::request::{CallOutcome, CallRequest, ReceiptOf};
use crate::error::{CallError, Code};
use crate::executor::call::Surroundings;
use crate::executor::function::Function;
use crate::metrics::function_stats::FunctionStats;
use crate::policy::files::kept::{KeptTurn, PendingFiles};
use crate::policy::network::call_requests::CallResponses;
use crate::policy::permissions::Denied;
use crate::registry::record::Record;
use crate::scheduling::moment::Moment;
use crate::scheduling::user_share::CallUser;
use crate::scheduling::wait::{WaitError, with_deadline};
use crate::service::call_target::{CallTarget, ResolvedTarget};
use crate::service::registered_function::RegisteredFunction;
use ferrite_protocol::keyspace::{Keyspace, Transaction};
use ferrite_protocol::resp::Encoder;

impl<K: Keyspace> Runtime<K> {
    /// Runs one call, writes exactly one reply (an error reply included), and counts the call in the
    /// stats of its function.
    ///
    /// The future may be dropped at any time; the call then leaves no trace in the data.
    pub async fn call<T: CallTarget<K>>(
        &self,
        request: &CallRequest<'_, T>,
        reply: &mut Encoder,
    ) -> CallOutcome<ReceiptOf<K>> {
        let (target, request) = T::resolve(request);
        // The guard lives while the call runs, so that the call changes no count that all threads
        // share.
        let names;
        let (function, stats, entry) = match target {
            ResolvedTarget::Held {
                function,
                stats,
                entry,
            } => (function, stats, entry),
            ResolvedTarget::Named { name, entry } => {
                names = self.0.registry.read();
                let Some(registered) = names.get(name) else {
                    let error = CallError::no_function(name);
                    reply.error_display(&error);
                    return CallOutcome::failed(error);
                };
                let function = match registered.function() {
                    Some(function) => function,
                    None => match self.fetch(registered, &request).await {
                        Ok(function) => function,
                        Err(error) => {
                            reply.error_display(&error);
                            return CallOutcome::failed(error);
                        }
                    },
                };
                (&**function, &**registered.stats(), entry)
            }
        };
        let counted = CountedCall {
            stats,
            digest: function.digest(),
            finished: false,
            fuel: AtomicU64::new(0),
        };
        if self.has_guards() && !request.profile && !request.read_only {
            let call = self.call_guarded(function, entry, &request, &counted.fuel, reply);
            let outcome = Box::pin(call).await;
            counted.finish(&outcome);
            return outcome;
        }
        let surroundings = Surroundings {
            outer: None,
            files: None,
            responses: None,
            dropped: &counted.fuel,
        };
        let executor = &self.0.executor;
        let outcome = executor
            .call(function, entry, &request, surroundings, reply)
            .await;
        counted.finish(&outcome);
        outcome
    }

    /// Runs one call as a part of a transaction of the host, and writes exactly one reply.
    ///
    /// The call sees what the transaction has written so far. If it fails, its own writes are rolled
    /// back, and the transaction can go on. If the transaction has met a conflict
    /// ([`OuterTransaction::is_lost`]), the reply means nothing, and the host begins again. The call is
    /// counted once the host says how often it ran: see [`JoinedCall::count`]. Directories that stay can
    /// only be read.
    pub async fn call_within(
        &self,
        request: &CallRequest<'_>,
        transaction: &OuterTransaction<K::Transaction>,
        reply: &mut Encoder,
    ) -> JoinedCall<ReceiptOf<K>> {
        let beside = BesideData::default();
        self.call_joined(request, transaction, beside, reply).await
    }

    /// Does the same as [`Runtime::call_within`], and lets the call do more `beside` the data.
    pub async fn call_joined(
        &self,
        request: &CallRequest<'_>,
        transaction: &OuterTransaction<K::Transaction>,
        beside: BesideData<'_>,
        reply: &mut Encoder,
    ) -> JoinedCall<ReceiptOf<K>> {
        let (name, entry) = request.name_and_entry();
        let failed = |error: CallError, reply: &mut Encoder| {
            reply.error_display(&error);
            JoinedCall::of(CallOutcome::failed(error), None)
        };
        let registered = match self.function(name) {
            Ok(registered) => registered,
            Err(error) => return failed(error, reply),
        };
        let function = match registered.function() {
            Some(function) => function,
            None => match self.fetch(&registered, request).await {
                Ok(function) => function,
                Err(error) => return failed(error, reply),
            },
        };
        if transaction.with(Transaction::set_savepoint) != Some(true) {
            let text = "functions cannot take part in a transaction of this store";
            return failed(CallError::new(Code::Store, text), reply);
        }
        let counted = CountedCall {
            stats: registered.stats(),
            digest: function.digest(),
            finished: false,
            fuel: AtomicU64::new(0),
        };
        let surroundings = Surroundings {
            outer: Some(transaction),
            files: beside.files,
            responses: beside.responses,
            dropped: &counted.fuel,
        };
        let executor = &self.0.executor;
        let outcome = executor
            .call(function, entry, request, surroundings, reply)
            .await;
        if outcome.error.is_some() {
            transaction.with(Transaction::roll_back);
        }
        counted.forget();
        let counted = (Arc::clone(registered.stats()), function.digest());
        JoinedCall::of(outcome, Some(counted))
    }

    /// Waits for the turn of a function at the files that it keeps, if it keeps any.
    pub(super) async fn files_turn(&self, name: &[u8]) -> Option<KeptTurn> {
        let registered = self.function(name).ok()?;
        let kept = registered.function()?.spec().kept.clone()?;
        Some(kept.turn().await)
    }

    /// Loads the code of a function at its first call.
    #[cold]
    async fn fetch<'r>(
        &self,
        registered: &'r Arc<RegisteredFunction<K>>,
        request: &CallRequest<'_>,
    ) -> Result<&'r Arc<Function<K>>, CallError> {
        let inner = Arc::clone(&self.0);
        let ready = registered.wait_ready(
            |record| self.0.load_record_at_once(record),
            move |record| inner.load_record(record),
        );
        let time_max = self.0.limits.read().defaults.time_max;
        let time_max = request
            .timeout
            .map_or(time_max, |asked| asked.min(time_max));
        let started = Moment::now();
        match with_deadline(ready, started.after(time_max), request.handle).await {
            Ok(result) => result,
            Err(WaitError::Killed) => Err(CallError::killed()),
            Err(WaitError::DeadlinePassed) => Err(CallError::new(
                Code::Timeout,
                "the function is still being loaded; try again later",
            )),
        }
    }

    /// Returns the function of this name with its code. Blocks while the code is loaded.
    ///
    /// # Errors
    ///
    /// There is no such function, or its code cannot be loaded.
    pub fn ready(&self, name: &[u8]) -> Result<Arc<Function<K>>, CallError> {
        let registered = self.function(name)?;
        if let Some(function) = registered.function() {
            return Ok(Arc::clone(function));
        }
        let inner = Arc::clone(&self.0);
        let ready = registered.wait_ready(
            |record| self.0.load_record_at_once(record),
            move |record| inner.load_record(record),
        );
        pollster::block_on(ready).cloned()
    }

    /// Returns the users that have running calls, and how many, where users share the places of functions,
    /// those with the most first; see [`UserShare`](crate::UserShare).
    #[must_use]
    pub fn user_calls(&self) -> Vec<(Box<str>, usize)> {
        let mut calls = self.0.executor.user_calls();
        calls.sort_unstable_by_key(|(_, count)| Reverse(*count));
        let named = |(user, count): (CallUser, usize)| (user.name(), count);
        calls.into_iter().map(named).collect()
    }

    /// Returns how many calls have waited, or were refused, because their user had its share.
    #[must_use]
    pub fn calls_held_by_share(&self) -> u64 {
        self.0.executor.held_by_share()
    }

    /// Makes the next call load the code of this function at once, even if the last load failed less
    /// than some seconds ago. Call it when the code may have become available.
    pub fn retry_now(&self, name: &[u8]) {
        if let Ok(registered) = self.function(name) {
            registered.retry_now();
        }
    }
}

impl<K: Keyspace> Inner<K> {
    /// Like [`Inner::load_record`], for a thread that serves other calls: returns `None` if loading
    /// would take long, and on any error.
    fn load_record_at_once(&self, record: &Record) -> Option<Arc<Function<K>>> {
        if self.options.pool.instances_min > 0 {
            // The guest's initialiser would run here.
            return None;
        }
        let key = record.release.as_ref().map(|release| release.key);
        let spec = self.spec(record).ok()?;
        let depth = Depth::of(&spec.limits);
        let provided = self.artifacts.provide_cached(&record.digest, key, depth)?;
        self.start(&provided, spec).ok()
    }

    /// Loads the code of a function in the registry.
    pub(super) fn load_record(&self, record: &Record) -> Result<Arc<Function<K>>, CallError> {
        let key = record.release.as_ref().map(|release| release.key);
        let spec = self.spec(record)?;
        let depth = Depth::of(&spec.limits);
        let provided = self
            .artifacts
            .provide_registered(&record.digest, key, depth)?;
        self.start(&provided, spec)
    }
}

/// Things beside the data that a call may do within a transaction of the host: none of them by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct BesideData<'a> {
    /// Gets what the call changes in directories that stay, for the host to commit.
    pub files: Option<&'a PendingFiles>,
    /// Lets the call make requests, and wait for them within the transaction. The responses stay there for
    /// the host's next tries of the same call.
    pub responses: Option<&'a CallResponses>,
}

impl<'a> BesideData<'a> {
    /// Lets a call change directories that stay.
    #[must_use]
    pub const fn files(files: &'a PendingFiles) -> Self {
        Self {
            files: Some(files),
            responses: None,
        }
    }
}

/// A call that ran as a part of a transaction of the host; see [`Runtime::call_within`].
#[must_use = "a call that took effect is to be counted"]
pub struct JoinedCall<R> {
    /// The outcome. It has no receipt: the host commits.
    outcome: CallOutcome<R>,
    /// The counters of the function; `None` if there is no such function.
    counted: Option<(Arc<FunctionStats>, Digest)>,
}

impl<R> JoinedCall<R> {
    const fn of(outcome: CallOutcome<R>, counted: Option<(Arc<FunctionStats>, Digest)>) -> Self {
        Self { outcome, counted }
    }

    /// Returns the error of a call that failed.
    #[must_use]
    pub const fn error(&self) -> Option<&CallError> {
        self.outcome.error.as_ref()
    }

    /// Counts the call in the figures of its function, once the transaction has ended, and returns its
    /// outcome. `tries` is the number of times that the host ran the transaction.
    pub fn count(self, tries: u32) -> CallOutcome<R> {
        let Self {
            mut outcome,
            counted,
        } = self;
        outcome.tries = tries;
        if let Some((stats, digest)) = counted {
            CountedCall {
                stats: &stats,
                digest,
                finished: false,
                fuel: AtomicU64::new(0),
            }
            .finish(&outcome);
        }
        outcome
    }
}

/// Counts a call when it ends: as killed if its future is dropped before.
struct CountedCall<'a> {
    stats: &'a FunctionStats,
    digest: Digest,
    finished: bool,
    /// Fuel of a call whose future is dropped.
    fuel: AtomicU64,
}

impl CountedCall<'_> {
    /// Counts nothing.
    fn forget(mut self) {
        self.finished = true;
    }

    #[inline]
    fn finish<R>(mut self, outcome: &CallOutcome<R>) {
        self.finished = true;
        self.stats
            .record(outcome.fuel, outcome.tries, outcome.latency);
        if let Some(denied) = &outcome.denied {
            self.record_denied(denied);
        }
        if let Some(error) = &outcome.error {
            self.stats.record_error(error, Some(self.digest));
        }
    }

    /// Counts a refused access as an error, whatever the guest made of it.
    #[cold]
    fn record_denied(&self, denied: &Denied) {
        let error = CallError::from(denied.clone());
        self.stats.record_error(&error, Some(self.digest));
    }
}

impl Drop for CountedCall<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.stats.record(*self.fuel.get_mut(), 1, None);
            self.stats
                .record_error(&CallError::killed(), Some(self.digest));
        }
    }
}
