//! The state of one call while it runs; it lives in the instance's store.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use wasmtime::Memory;

use crate::automation::outbox::table::Outbox;
use crate::call::data_access::DataAccess;
use crate::call::fuel_account::FuelAccount;
use crate::call::guest_log::GuestLog;
use crate::call::host_trap::HostTrap;
use crate::call::input::CallInput;
use crate::call::overflow::Overflow;
use crate::call::reply_builder::ReplyBuilder;
use crate::call::resource_limiter::GuestLimiter;
use crate::error::CallError;
use crate::metrics::host_calls::HostCalls;
use crate::policy::files::table::FileTable;
use crate::policy::function_spec::FunctionSpec;
use crate::policy::network::call_requests::CallRequests;
use crate::policy::network::client::NetworkClient;
use crate::scheduling::cancellation::{CallHandle, CallSlot};
use crate::scheduling::moment::Moment;
use crate::scheduling::run_queue::TURN;
use crate::scheduling::timer::{Alarm, wake_at};
use crate::scheduling::user_share::UserShare;
use crate::scheduling::wait::{YieldNow, until_stopped, yield_thread};
use ferrite_protocol::budget::NANOSECONDS_PER_UNIT;
use ferrite_protocol::keyspace::{Keyspace, Mode};
use ferrite_protocol::resp::{Encoder, Protocol, RequestBounds, RequestScanner};

/// Longest time for which a call holds data exclusively, checked when it may give its thread back.
///
/// After several conflicts a call runs exclusively, and others wait for the data that it has read.
/// One that needs longer loses that right; it is run again if another call then changes the data.
pub(crate) const EXCLUSIVE_MAX: Duration = Duration::from_millis(10);

/// Capacity that a buffer may keep between calls, in bytes, so that one large call does not make
/// every idle instance large.
const KEEP_BYTES: usize = 8 << 10;

/// Bounds of the arguments of a command that a guest runs. They are in the guest's memory, whose
/// limit bounds their bytes.
pub(crate) const ARGUMENT_BOUNDS: RequestBounds = RequestBounds {
    bulk_bytes_max: 512 << 20,
    arguments_max: 1 << 16,
    inline_bytes_max: 0,
    request_bytes_max: usize::MAX >> 1,
};

/// The state of one call while it runs.
///
/// Its buffers serve many calls: those of one instance in turn, or of fresh instances one after the
/// other.
pub(crate) struct CallState<K: Keyspace> {
    /// Permissions and limits of the function.
    pub(crate) spec: Arc<FunctionSpec>,
    /// Access to the data.
    pub(crate) data: DataAccess<K>,
    /// Keys and arguments.
    pub(crate) input: CallInput,
    /// The reply so far.
    pub(crate) reply: ReplyBuilder,
    /// The result that `take` reads from.
    pub(crate) overflow: Overflow,
    /// Finds the arguments of commands that the guest runs.
    pub(crate) arguments: RequestScanner,
    /// Replies of those commands.
    pub(crate) command_reply: Encoder,
    /// Sends the requests of the function.
    pub(crate) network: Arc<NetworkClient>,
    /// Takes the requests that calls commit; `None` if the host sends none.
    pub(crate) outbox: Option<Arc<Outbox>>,
    /// The requests of the call.
    pub(crate) requests: CallRequests,
    /// The files that the call has open.
    pub(crate) files: FileTable,
    /// The guest's log.
    pub(crate) log: GuestLog,
    /// The instance's memory and table limits.
    pub(crate) limiter: GuestLimiter,
    /// The exported memory, once the instance exists.
    pub(crate) memory: Option<Memory>,
    /// Counts of host calls, only while the call is profiled.
    pub(crate) host_calls: Option<Box<HostCalls>>,
    /// Fuel limit and use.
    pub(crate) fuel: FuelAccount,
    /// True if one operation of the host took a slice or more, during which the call could not give its
    /// thread to others.
    pub(crate) held_thread: bool,
    /// The switch that ends the call.
    pub(crate) slot: Arc<CallSlot>,
    handle: Option<CallHandle>,
    yield_now: Option<YieldNow>,
    started: Start,
    time_max: Duration,
    /// Wakes the call at its deadline, once it has yielded its thread.
    alarm: Option<Alarm>,
    /// Moment when the call began to hold data exclusively; `None` if it does not.
    exclusive_since: Option<Moment>,
    /// Moment when the guest resumed after it yielded; none in its first turn.
    resumed: Option<Moment>,
}

/// The data of a guest's store. Boxed, so that the buffers of a call move from one fresh instance
/// to the next as one word.
pub(crate) type StoreData<K> = Box<CallState<K>>;

/// The parameters of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallParams<'a> {
    /// Keys of the call.
    pub(crate) keys: &'a [&'a [u8]],
    /// Arguments of the call.
    pub(crate) args: &'a [&'a [u8]],
    /// Database that the client selected.
    pub(crate) database: u32,
    /// Access that the caller asks for; the permissions may allow less.
    pub(crate) access: Mode,
    /// Protocol of the reply.
    pub(crate) protocol: Protocol,
    /// Longest duration of the call.
    pub(crate) time_max: Duration,
    /// Start of the call, if it was read from the clock.
    pub(crate) started: Option<Moment>,
    /// The caller's own kill switch.
    pub(crate) handle: Option<&'a CallHandle>,
    /// True if host calls are counted.
    pub(crate) profile: bool,
    /// True if the call may make requests, which it then waits for.
    pub(crate) may_wait: bool,
    /// The user that the call is for.
    pub(crate) user: UserShare,
}

impl CallParams<'_> {
    /// Parameters for the initialisation of an instance that serves no call yet: no keys, no
    /// arguments, no writes.
    pub(crate) fn without_input() -> Self {
        Self {
            keys: &[],
            args: &[],
            database: 0,
            access: Mode::Read,
            protocol: Protocol::default(),
            time_max: Duration::MAX,
            started: None,
            handle: None,
            profile: false,
            may_wait: false,
            user: UserShare::NOBODY,
        }
    }
}

impl<K: Keyspace> CallState<K> {
    /// Creates a state for calls of one function, with empty buffers.
    #[must_use]
    pub(crate) fn new(
        keyspace: K,
        yield_now: Option<YieldNow>,
        network: Arc<NetworkClient>,
        outbox: Option<Arc<Outbox>>,
        spec: Arc<FunctionSpec>,
    ) -> Self {
        let limits = &spec.limits;
        Self {
            limiter: GuestLimiter::new(limits.memory_bytes_max, limits.table_elements_max),
            data: DataAccess::new(keyspace, Arc::clone(&spec)),
            spec,
            input: CallInput::default(),
            reply: ReplyBuilder::new(),
            overflow: Overflow::default(),
            arguments: RequestScanner::new(ARGUMENT_BOUNDS),
            command_reply: Encoder::new(Protocol::Resp2),
            network,
            outbox,
            requests: CallRequests::default(),
            files: FileTable::default(),
            log: GuestLog::default(),
            memory: None,
            host_calls: None,
            fuel: FuelAccount::default(),
            held_thread: false,
            slot: CallSlot::new(),
            handle: None,
            yield_now,
            started: Start::default(),
            time_max: Duration::MAX,
            alarm: None,
            exclusive_since: None,
            resumed: None,
        }
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, call: &CallParams<'_>) {
        let CallParams {
            keys,
            args,
            database: _,
            access: _,
            protocol: _,
            time_max,
            started,
            handle,
            profile,
            may_wait: _,
            user: _,
        } = *call;
        self.slot.begin();
        if let Some(started) = started {
            self.slot.note_start(started);
        }
        self.input.set(keys, args);
        self.started = Start(Cell::new(started));
        self.resumed = None;
        self.time_max = time_max;
        self.handle = handle.cloned();
        self.host_calls = profile.then(Box::default);
        self.log.begin(self.spec.limits.log_bytes_max);
        self.requests.begin();
        self.begin_try(call);
    }

    /// Begins another try of the same call, after a conflict discarded the effects of the last one.
    pub(crate) fn begin_try(&mut self, call: &CallParams<'_>) {
        let limits = &self.spec.limits;
        self.data.begin(call.database, call.access);
        self.reply
            .begin(call.protocol, saturate(limits.reply_bytes_max));
        self.overflow.begin(saturate(limits.memory_bytes_max));
        self.exclusive_since = None;
        self.held_thread = false;
        self.limiter.begin_call();
        self.requests.begin_try();
        let kept = self.spec.kept.as_ref();
        self.files.begin(&self.spec.directories, kept);
    }

    /// Ends the call, successful or not, and discards its leftovers.
    pub(crate) fn end(&mut self) {
        self.slot.end();
        self.alarm = None;
        self.log.end(&self.spec.name);
        self.data.end();
        self.handle = None;
        self.requests.begin();
        let kept = self.spec.kept.as_ref();
        self.files.begin(&self.spec.directories, kept);
        self.input.shrink_to(KEEP_BYTES);
        self.reply.shrink_to(KEEP_BYTES);
        self.overflow.shrink_to(KEEP_BYTES);
        self.arguments.shrink();
        self.command_reply.clear();
        self.command_reply.shrink_to(KEEP_BYTES);
    }

    /// Ends work that was listed as the call, of which the rest follows with another state. Returns true if
    /// it was killed: the rest must not run.
    #[must_use]
    pub(crate) fn end_part(&mut self) -> bool {
        let killed = self.slot.end_part();
        self.end();
        killed
    }

    /// Removes the instance, so that the buffers can serve another one.
    pub(crate) fn leave_instance(&mut self) {
        self.memory = None;
        self.fuel.detach();
        self.limiter.begin_instance();
    }

    /// Returns a future that yields the thread to other calls; `None` if the guest has run for less
    /// than a turn.
    pub(crate) fn turn_of_others(&mut self) -> Option<impl Future<Output = ()> + Send + use<K>> {
        let turn_began = self.resumed.unwrap_or_else(|| self.started.get(&self.slot));
        let now = Moment::now();
        if now.since(turn_began) < TURN {
            return None;
        }
        self.end_exclusive_by(now);
        let deadline = self.deadline();
        if self.alarm.is_none() {
            let waker = Waker::from(Arc::clone(&self.slot));
            self.alarm = Some(wake_at(deadline, waker));
        }
        Some(yield_thread(
            Arc::clone(&self.slot),
            self.handle.clone(),
            deadline,
            self.yield_now,
        ))
    }

    /// Marks that the call holds data exclusively from now on.
    pub(crate) fn begin_exclusive(&mut self) {
        self.exclusive_since = Some(Moment::now());
    }

    /// Ends the exclusive hold of a call that next looks at the time at `moment`, if it would then
    /// have lasted too long.
    pub(crate) fn end_exclusive_by(&mut self, moment: Moment) {
        if self
            .exclusive_since
            .is_some_and(|since| moment.since(since) >= EXCLUSIVE_MAX)
        {
            self.exclusive_since = None;
            self.data.end_exclusive();
        }
    }

    /// Ends the exclusive hold of a call that is about to wait for long.
    pub(crate) fn stop_exclusive(&mut self) {
        if self.exclusive_since.take().is_some() {
            self.data.end_exclusive();
        }
    }

    /// Waits for `future`, until the call must end.
    ///
    /// # Errors
    ///
    /// The call was killed, or its time is over.
    pub(crate) async fn wait_for<F: Future>(&mut self, future: F) -> Result<F::Output, HostTrap> {
        let deadline = self.deadline();
        let slot = Arc::clone(&self.slot);
        let handle = self.handle.clone();
        let check = || self.check_stop();
        until_stopped(future, &slot, handle.as_ref(), deadline, check).await
    }

    /// Marks that the guest resumes after it yielded.
    pub(crate) fn resume(&mut self) {
        self.resumed = Some(Moment::now());
    }

    /// Returns the access to the data, and the stop check to use meanwhile.
    pub(crate) fn data_and_stop(&mut self) -> (&mut DataAccess<K>, StopCheck<'_>) {
        let stop = StopCheck {
            slot: &self.slot,
            handle: self.handle.as_ref(),
            started: &self.started,
            time_max: self.time_max,
        };
        (&mut self.data, stop)
    }

    /// Returns what running a command needs.
    pub(crate) fn command_parts(&mut self) -> CommandParts<'_, K> {
        CommandParts {
            data: &mut self.data,
            overflow: &mut self.overflow,
            arguments: &mut self.arguments,
            reply: &mut self.command_reply,
            work_max: self.fuel.command_max(),
            held_thread: &mut self.held_thread,
            stop: StopCheck {
                slot: &self.slot,
                handle: self.handle.as_ref(),
                started: &self.started,
                time_max: self.time_max,
            },
        }
    }

    /// Returns the moment at which the call times out.
    fn deadline(&self) -> Moment {
        self.started.get(&self.slot).after(self.time_max)
    }

    /// Returns an error if the call must end now.
    pub(crate) fn check_stop(&mut self) -> Result<(), HostTrap> {
        self.data_and_stop().1.check()
    }
}

/// The parts of a call's state that running a command needs.
pub(crate) struct CommandParts<'a, K: Keyspace> {
    /// Access to the data.
    pub(crate) data: &'a mut DataAccess<K>,
    /// Takes the result.
    pub(crate) overflow: &'a mut Overflow,
    /// Finds the arguments.
    pub(crate) arguments: &'a mut RequestScanner,
    /// Takes the reply.
    pub(crate) reply: &'a mut Encoder,
    /// Units of work that the command may use.
    pub(crate) work_max: u64,
    /// To be set if the command takes a slice or more.
    pub(crate) held_thread: &'a mut bool,
    /// Says if the call must end.
    pub(crate) stop: StopCheck<'a>,
}

/// Checks if a call must end, also while its data is borrowed.
#[derive(Clone, Copy)]
pub(crate) struct StopCheck<'a> {
    slot: &'a CallSlot,
    handle: Option<&'a CallHandle>,
    started: &'a Start,
    time_max: Duration,
}

impl StopCheck<'_> {
    /// Returns an error if a commit of this much work must not begin: the call was killed, or the commit
    /// would outlast its time. It cannot be stopped once it has begun.
    #[cold]
    pub(crate) fn check_commit(self, work: u64) -> Result<(), CallError> {
        match self.check() {
            Ok(()) => {}
            Err(HostTrap::Timeout { limit, elapsed }) => {
                return Err(CallError::timeout(limit, elapsed));
            }
            Err(_) => return Err(CallError::killed()),
        }
        let needed = Duration::from_nanos(work.saturating_mul(NANOSECONDS_PER_UNIT));
        let started = self.started.get(self.slot);
        let now = Moment::now();
        if now.after(needed) < started.after(self.time_max) {
            return Ok(());
        }
        let elapsed = now.since(started);
        Err(CallError::commit_too_late(self.time_max, elapsed, needed))
    }

    /// Returns an error if the call was killed or its time is over. Reads the clock.
    pub(crate) fn check(self) -> Result<(), HostTrap> {
        if self.slot.is_killed() || self.handle.is_some_and(CallHandle::is_killed) {
            return Err(HostTrap::Killed);
        }
        let started = self.started.get(self.slot);
        let now = Moment::now();
        if now < started.after(self.time_max) {
            return Ok(());
        }
        Err(HostTrap::Timeout {
            limit: self.time_max,
            elapsed: now.since(started),
        })
    }
}

/// The start of a call.
///
/// A short call reads no clock: the start is read when it is first asked for, which is after a
/// slice of the meter at the latest. So a call may take a slice longer than its limit, and never
/// ends before it.
#[derive(Clone, Debug, Default)]
struct Start(Cell<Option<Moment>>);

impl Start {
    /// Returns the start, and tells it to those who list the call of `slot`.
    fn get(&self, slot: &CallSlot) -> Moment {
        if let Some(started) = self.0.get() {
            return started;
        }
        let now = Moment::now();
        self.0.set(Some(now));
        slot.note_start(now);
        now
    }
}

fn saturate(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
