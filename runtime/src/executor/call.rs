//! The call path: from a request to a committed reply, or to an error that leaves no trace.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use wasmtime::Val;

use crate::call::outer_transaction::OuterTransaction;
use crate::call::request::{
    CallOutcome, CallProfile, CallRequest, ErrorWord, LATENCY_SAMPLE_EVERY, OPTIMISTIC_TRIES_MAX,
    ReceiptOf,
};
use crate::call::state::{CallParams, CallState, StoreData};
use crate::error::{CallError, Code};
use crate::executor::Executor;
use crate::executor::admission::read_args;
use crate::executor::function::{Function, Retained, Retention, Turn};
use crate::executor::instantiate::{NoInstance, NotMade};
use crate::instance::entry::RunFailure;
use crate::instance::{Instance, Mode, Reusable, Start};
use crate::policy::files::kept::{KeptTurn, PendingFiles};
use crate::policy::network::call_requests::CallResponses;
use crate::scheduling::pool::PermitGuard;
use crate::scheduling::run_queue::SHORT_POLLS_MAX;
use crate::scheduling::timer;
use ferrite_protocol::budget;
use ferrite_protocol::keyspace::{CommitError, Keyspace, Mode as Access, Transaction};
use ferrite_protocol::resp::Encoder;

impl<K: Keyspace> Executor<K> {
    /// Runs one call of `function` and writes exactly one reply, errors included.
    ///
    /// `entry` names the entry to call; the function that `request` names is ignored. In a transaction
    /// of the host, nothing is committed: the host rolls back a call that failed. The future may be
    /// dropped at any time; the call then leaves no trace but its fuel. It runs on any executor, and
    /// yields once per turn if the guest runs for longer than one. A short call of a warm instance
    /// takes one of the pool's locks twice, allocates nothing and makes no system call.
    pub(crate) async fn call(
        &self,
        function: &Function<K>,
        entry: Option<&[u8]>,
        request: &CallRequest<'_>,
        surroundings: Surroundings<'_, K>,
        reply: &mut Encoder,
    ) -> CallOutcome<ReceiptOf<K>> {
        let reply_start = reply.len();
        let mut outcome = CallOutcome::new();
        if let Err(error) = self
            .run(function, entry, request, surroundings, reply, &mut outcome)
            .await
        {
            reply.truncate(reply_start);
            reply.error_display(&error);
            outcome.error = Some(error);
        }
        outcome
    }

    async fn run(
        &self,
        function: &Function<K>,
        entry: Option<&[u8]>,
        request: &CallRequest<'_>,
        surroundings: Surroundings<'_, K>,
        reply: &mut Encoder,
        outcome: &mut CallOutcome<ReceiptOf<K>>,
    ) -> Result<(), CallError> {
        let entry = function.entry(entry)?;
        function.count_entry(entry);
        let args = read_args(function, entry, request)?;
        let limits = &function.spec().limits;
        let time_max = request
            .timeout
            .map_or(limits.time_max, |timeout| timeout.min(limits.time_max));
        let (mut permit, started, _pass) = self.enter(function, request, time_max).await?;
        let sequence = permit.sequence();
        let sampled = request.profile
            || sequence < LATENCY_SAMPLE_EVERY
            || sequence.is_multiple_of(LATENCY_SAMPLE_EVERY);
        let clock = sampled.then(Instant::now);

        let mut run = Run {
            executor: self,
            function,
            entry,
            args: &args,
            params: CallParams {
                keys: request.keys,
                args: request.args,
                database: request.database,
                access: request.mode(),
                protocol: reply.protocol(),
                time_max,
                started,
                handle: request.handle,
                profile: request.profile,
                may_wait: request.may_wait
                    && (surroundings.outer.is_none() || surroundings.responses.is_some()),
                user: request.user,
            },
            surroundings,
            turn: OnceLock::new(),
            files_turn: OnceLock::new(),
            permit: Mutex::new(None),
        };
        let retained = permit.take();
        *run.permit.get_mut() = Some(permit);
        let result = run.run_until_committed(retained, reply, outcome).await;
        outcome.latency = clock.map(|clock| clock.elapsed());
        let (result, retained) = match result {
            Ok(retained) => (Ok(()), Some(retained)),
            Err(Failed { error, retained }) => (Err(error), retained),
        };
        if let (Some(permit), Some(retained)) = (run.permit.into_inner(), retained) {
            permit.put_back(retained);
            // Only after the pool has the instance; see `timer`.
            timer::watch_idle();
        }
        result
    }

    /// Makes instances of a function until `instances_min` of its pool are idle.
    ///
    /// # Errors
    ///
    /// The client's error if its start function or initialiser fails.
    pub(crate) async fn prewarm(&self, function: &Function<K>) -> Result<(), CallError> {
        let instances_min = function.pool().options().instances_min;
        if matches!(function.retention(), Retention::BuffersOnly { .. }) {
            return Ok(());
        }
        for _ in function.usage().idle..instances_min {
            let request = CallRequest::new(b"", &[], &[]);
            let time_max = function.spec().limits.time_max;
            let (permit, started, _) = self.enter(function, &request, time_max).await?;
            let params = CallParams {
                time_max,
                started,
                ..CallParams::without_input()
            };
            let begun = || {
                let mut state = self.new_state(function);
                state.begin(&params);
                state
            };
            let mut instance = match function.retention() {
                Retention::Rewound(rewinding) if rewinding.shares() => {
                    let first = self.first(function, rewinding, &params).await;
                    let Some(snapshot) = first.map_err(|no_instance| no_instance.error)? else {
                        return Ok(());
                    };
                    let mode = function.mode(&params);
                    self.rewound(function, rewinding, &snapshot, begun(), mode, params.user)
                        .await?
                }
                Retention::Rewound(_) | Retention::BuffersOnly { .. } => return Ok(()),
                Retention::WholeInstance => self
                    .instantiate(
                        function,
                        begun(),
                        Start::Initialize,
                        Mode::Fiber,
                        params.user,
                    )
                    .await
                    .map_err(NotMade::into_error)?,
            };
            instance.state().end();
            // Idle instances and running calls share the pool's permits, so return this one first.
            drop(permit);
            drop(function.pool().stock(Retained::Instance(instance)));
            timer::watch_idle();
        }
        Ok(())
    }
}

/// One call while it runs.
pub(super) struct Run<'a, K: Keyspace> {
    pub(super) executor: &'a Executor<K>,
    pub(super) function: &'a Function<K>,
    pub(super) entry: usize,
    pub(super) args: &'a [Val],
    pub(super) surroundings: Surroundings<'a, K>,
    pub(super) params: CallParams<'a>,
    /// The call's turn, if calls of the function take turns.
    pub(super) turn: OnceLock<Turn>,
    /// The call's turn at the files that the function keeps, after conflicts.
    pub(super) files_turn: OnceLock<KeptTurn>,
    /// The call's permit; `None` while it waits for a turn, because whoever has the turn may need a permit.
    pub(super) permit: Mutex<Option<PermitGuard<'a, Retained<K>>>>,
}

/// Ties of a call to the outside: a transaction that it joins, and the counter of its fuel.
pub(crate) struct Surroundings<'a, K: Keyspace> {
    /// The transaction that the call takes part in; `None` if it has one of its own.
    pub(crate) outer: Option<&'a OuterTransaction<K::Transaction>>,
    /// Takes what the call changes in files that stay, where whoever commits the transaction commits
    /// that too. A call that joins a transaction without it cannot change them.
    pub(crate) files: Option<&'a PendingFiles>,
    /// Keeps the responses to requests over the tries of a host that lets a call wait within its transaction.
    /// Another call that joins a transaction can make none.
    pub(crate) responses: Option<&'a CallResponses>,
    /// Gets the fuel of a call whose future is dropped.
    pub(crate) dropped: &'a AtomicU64,
}

/// An instance whose guest runs. If the call's future is dropped meanwhile, so is this, and tells the
/// fuel that the call had used.
struct Running<'a, K: Keyspace> {
    instance: Option<Box<Instance<K>>>,
    /// Fuel of the call's earlier tries.
    fuel_before: u64,
    dropped: &'a AtomicU64,
}

impl<K: Keyspace> Drop for Running<'_, K> {
    fn drop(&mut self) {
        if let Some(instance) = &self.instance {
            let fuel = self.fuel_before.saturating_add(instance.fuel_used());
            self.dropped.store(fuel, Ordering::Relaxed);
        }
    }
}

/// Result of making an instance for a try.
enum Made<K: Keyspace> {
    Instance(Box<Instance<K>>),
    /// Its initialisation needs a stack of its own; carries the rest of the try.
    NeedsFiber(StoreData<K>),
}

/// A failed call: its error, and the parts that other calls can still use.
struct Failed<K: Keyspace> {
    error: CallError,
    retained: Option<Retained<K>>,
}

impl<K: Keyspace> From<CallError> for Failed<K> {
    fn from(error: CallError) -> Self {
        Self {
            error,
            retained: None,
        }
    }
}

impl<K: Keyspace> Run<'_, K> {
    /// Runs the entry and commits; runs it again if others changed the same keys in between.
    async fn run_until_committed(
        &self,
        mut retained: Option<Retained<K>>,
        reply: &mut Encoder,
        outcome: &mut CallOutcome<ReceiptOf<K>>,
    ) -> Result<Retained<K>, Failed<K>> {
        let mut mode = self.function.mode(&self.params);
        // A try that needed a stack of its own does not count: it had no visible effect.
        let mut begun = false;
        let mut makes_way = self.function.holds_thread();
        loop {
            if mode == Mode::Fiber && std::mem::take(&mut makes_way) {
                self.make_way().await;
            }
            let again = begun;
            begun = true;
            let alone = self.surroundings.outer.is_none();
            // What meets no conflict must not keep others waiting.
            let exclusive = self.params.access != Access::ReadLatest
                && (outcome.tries >= OPTIMISTIC_TRIES_MAX
                    || alone && self.function.begins_exclusively());
            outcome.tries += 1;
            let instance = self
                .instance(retained.take(), again, exclusive, mode)
                .await
                .map_err(|NoInstance { error, fuel }| {
                    outcome.fuel = outcome.fuel.saturating_add(fuel);
                    error
                })?;
            let instance = match instance {
                Made::Instance(instance) => instance,
                Made::NeedsFiber(state) => {
                    mode = self.begin_on_fiber(outcome);
                    retained = Some(self.rest_of(state));
                    continue;
                }
            };
            let mut running = Running {
                instance: Some(instance),
                fuel_before: outcome.fuel,
                dropped: self.surroundings.dropped,
            };
            let Some(instance) = &mut running.instance else {
                return Err(CallError::killed().into());
            };
            let CallParams {
                may_wait, access, ..
            } = self.params;
            let state = instance.state();
            state.requests.open(may_wait, access.writes());
            let may_commit = alone || self.surroundings.files.is_some();
            state.files.allow_changes(may_commit && access.writes());
            state.data.set_undivided(mode == Mode::Direct);
            let ran = instance
                .run(
                    self.function.module(),
                    self.entry,
                    self.args,
                    matches!(self.function.retention(), Retention::WholeInstance),
                )
                .await;
            let Some(mut instance) = running.instance.take() else {
                return Err(CallError::killed().into());
            };
            let fuel_before = outcome.fuel;
            outcome.fuel = outcome.fuel.saturating_add(instance.fuel_used());
            let state = instance.state();
            outcome.denied = state.data.take_denied();
            let ran = match ran {
                Err(RunFailure::NeedsFiber) => {
                    outcome.fuel = fuel_before;
                    makes_way = self.function.holds_thread() || instance.state().held_thread;
                    mode = self.begin_on_fiber(outcome);
                    retained = Some(self.rest_of(instance.into_state()));
                    continue;
                }
                Err(RunFailure::Failed(error, reusable)) => Err((error, reusable)),
                Ok(()) => Ok(()),
            };
            let fuel = instance.fuel_used();
            self.function.note_length(fuel);
            self.function.note_held_thread(instance.state().held_thread);
            if let Err((error, reusable)) = ran {
                if self.params.profile {
                    outcome.profile = Some(self.profile(&mut instance));
                }
                let state = instance.state();
                if state.data.is_lost()
                    && is_of_the_guest(&error)
                    && self.surroundings.outer.is_none()
                {
                    self.function.note_conflict(fuel);
                    retained = Some(match reusable {
                        Reusable::Yes => self.keep(instance),
                        Reusable::No => Retained::Buffers(instance.into_state()),
                    });
                    continue;
                }
                state.end();
                let retained = (reusable == Reusable::Yes).then(|| self.keep(instance));
                return Err(Failed { error, retained });
            }
            match self.commit(&mut instance, reply, outcome) {
                Ok(()) => {
                    if outcome.tries == 1 {
                        self.function.note_no_conflict();
                    }
                    instance.state().end();
                    return Ok(self.keep(instance));
                }
                Err(NotCommitted::Conflict) if self.surroundings.outer.is_some() => {
                    instance.state().end();
                    let retained = Some(self.keep(instance));
                    let error = CallError::new(Code::Store, "another call changed the same keys");
                    return Err(Failed { error, retained });
                }
                Err(NotCommitted::Conflict) => {
                    self.function.note_conflict(fuel);
                    retained = Some(self.keep(instance));
                }
                Err(NotCommitted::Failed(error)) => {
                    instance.state().end();
                    let retained = Some(self.keep(instance));
                    return Err(Failed { error, retained });
                }
            }
        }
    }

    /// Gives the host the occasion to move the call to a thread of its own, before it runs what may hold
    /// its thread for long. A host that has nothing to do with a thread meanwhile has none to move it to.
    #[cold]
    async fn make_way(&self) {
        if let Some(yield_now) = self.executor.yield_now {
            // One more: some hosts poll a call once before they count.
            for _ in 0..=SHORT_POLLS_MAX {
                yield_now().await;
            }
        }
    }

    /// Records that the call has to run again on a stack of its own.
    #[cold]
    fn begin_on_fiber(&self, outcome: &mut CallOutcome<ReceiptOf<K>>) -> Mode {
        outcome.tries -= 1;
        outcome.denied = None;
        self.function.note_needs_fiber();
        Mode::Fiber
    }

    /// Returns the part of such a try that serves the next one: its buffers, without its log.
    #[cold]
    fn rest_of(&self, mut state: StoreData<K>) -> Retained<K> {
        let log_bytes_max = state.spec.limits.log_bytes_max;
        state.log.begin(log_bytes_max);
        state.leave_instance();
        Retained::Buffers(state)
    }

    /// Returns an instance whose call has begun, made from `retained` or new.
    async fn instance(
        &self,
        retained: Option<Retained<K>>,
        again: bool,
        exclusive: bool,
        mode: Mode,
    ) -> Result<Made<K>, NoInstance> {
        let retained = match retained {
            // It runs without a stack of its own, but the call needs one.
            Some(Retained::Instance(instance))
                if mode == Mode::Fiber && instance.mode() == Mode::Direct =>
            {
                Some(Retained::Buffers(instance.into_state()))
            }
            retained => retained,
        };
        let mut retained =
            retained.unwrap_or_else(|| Retained::Buffers(self.executor.new_state(self.function)));
        let mode = match &retained {
            Retained::Instance(instance) => instance.mode(),
            Retained::Buffers(_) => mode,
        };
        self.begin(retained.state(), again, mode);
        if exclusive || self.wants_turn() {
            retained = self.take_turns(retained, exclusive).await?;
        }
        let state = match retained {
            Retained::Instance(mut instance) => {
                instance
                    .refuel()
                    .map_err(|error| CallError::new(Code::Trap, error.to_string()))?;
                return Ok(Made::Instance(instance));
            }
            Retained::Buffers(state) => state,
        };
        if let Retention::Rewound(rewinding) = self.function.retention()
            && rewinding.shares()
            && let Some(snapshot) = self
                .executor
                .first(self.function, rewinding, &self.params)
                .await?
        {
            let made = self
                .executor
                .rewound(
                    self.function,
                    rewinding,
                    &snapshot,
                    state,
                    mode,
                    self.params.user,
                )
                .await;
            return made.map(Made::Instance).map_err(NoInstance::from);
        }
        let made = self
            .executor
            .instantiate(
                self.function,
                state,
                Start::Initialize,
                mode,
                self.params.user,
            )
            .await;
        match made {
            Ok(instance) => Ok(Made::Instance(instance)),
            Err(NotMade::NeedsFiber(state)) => Ok(Made::NeedsFiber(state)),
            Err(NotMade::Failed(error, state)) => Err(NoInstance::after(error, state)),
        }
    }

    fn begin(&self, state: &mut CallState<K>, again: bool, mode: Mode) {
        if again {
            state.begin_try(&self.params);
        } else {
            state.begin(&self.params);
        }
        state.log.write_at_once(mode == Mode::Fiber);
        if let Some(responses) = self.surroundings.responses {
            state.requests.share(responses);
        }
        if let Some(outer) = self.surroundings.outer {
            state.data.join(outer);
            // The host may have begun it as exclusive.
            state.begin_exclusive();
        }
        state.fuel.set_first_slice_only(mode == Mode::Direct);
    }

    /// Checks the reply, commits, and only then writes the reply to `reply`.
    fn commit(
        &self,
        instance: &mut Instance<K>,
        reply: &mut Encoder,
        outcome: &mut CallOutcome<ReceiptOf<K>>,
    ) -> Result<(), NotCommitted> {
        if self.params.profile {
            outcome.profile = Some(self.profile(instance));
        }
        let state = instance.state();
        let work = state.data.commit_work();
        if work >= budget::SLICE && self.surroundings.outer.is_none() {
            let (_, stop) = state.data_and_stop();
            stop.check_commit(work).map_err(NotCommitted::Failed)?;
        }
        if state.data.is_lost() {
            // Even if nothing would be committed: the reply was built from values that were never
            // committed.
            return Err(NotCommitted::Conflict);
        }
        let bytes = state
            .reply
            .finish()
            .map_err(|problem| NotCommitted::Failed(CallError::invalid(problem.to_string())))?;
        let transaction = state.data.take_transaction();
        if self.params.profile {
            // The drop rolls back everything that the call wrote.
            drop(transaction);
        } else if let Some(files) = self.surroundings.files {
            files.put(state.files.take_changed());
        } else {
            let commit = || transaction.map(Transaction::commit).transpose();
            let committed = match state.files.take_changed() {
                Some(changed) => changed.commit(self.files_turn.get().is_some(), commit),
                None => commit(),
            };
            match committed {
                Ok(receipt) => outcome.receipt = receipt,
                Err(CommitError::Conflict) => return Err(NotCommitted::Conflict),
                Err(CommitError::Store(error)) => {
                    return Err(NotCommitted::Failed(CallError::new(
                        Code::Store,
                        format!("nothing of the call was kept: {error}"),
                    )));
                }
            }
        }
        if bytes.first() == Some(&b'-') {
            outcome.replied_error = Some(ErrorWord::of_reply(bytes));
        }
        reply.raw(bytes);
        Ok(())
    }

    /// Returns the counters of a profiled call, however it ended.
    #[cold]
    fn profile(&self, instance: &mut Instance<K>) -> Box<CallProfile> {
        let memory_bytes = instance.memory_bytes();
        let host_calls = instance.state().host_calls.take();
        Box::new(CallProfile {
            host_calls: *host_calls.unwrap_or_default(),
            memory_bytes,
        })
    }

    /// Returns the part of a used instance that can serve the next call.
    fn keep(&self, mut instance: Box<Instance<K>>) -> Retained<K> {
        let whole = match self.function.retention() {
            Retention::WholeInstance => self.function.leaves_room(instance.memory_bytes()),
            Retention::BuffersOnly { .. } => false,
            // An instance with a stack of its own is kept only for functions that usually need one.
            Retention::Rewound(rewinding) => {
                (instance.mode() == Mode::Direct || self.function.needs_fiber())
                    && instance.rewind(rewinding)
            }
        };
        if whole {
            Retained::Instance(instance)
        } else {
            Retained::Buffers(instance.into_state())
        }
    }
}

/// Returns true if an error is the guest's own, false if it ends the whole call.
///
/// A guest whose transaction has a conflict gets misleading errors: it may trap or loop.
fn is_of_the_guest(error: &CallError) -> bool {
    !matches!(error.code(), Code::Timeout | Code::Killed)
}

/// Reason why a call whose guest returned was not committed.
enum NotCommitted {
    /// Another call changed data that it had read.
    Conflict,
    /// It can never be committed.
    Failed(CallError),
}
