//! Runs calls: one future that is made once and runs one call after the other.
//!
//! The state of a call on its way through the runtime takes some thousand bytes. A future for each
//! call would be allocated, moved there and freed again, which takes longer than a short function
//! runs. So a runner stays where it is between calls, and only a call that leaves the main thread
//! takes its runner along.

#![allow(
    unsafe_code,
    reason = "makes the mailbox that a runner and its future share"
)]

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Waking, Poll, Waker};
use std::time::Duration;

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::commands::{Command, Scope, Spec};
use ferrite_runtime::{CallRequest, Runtime, UserShare};

use crate::api::context::Context;
use crate::api::locked_cell::LockedCell;
use crate::api::string::Args;
use crate::execution::job::Job;
use crate::execution::mailbox::Mailbox;
use crate::transaction::ServerKeyspace;
use crate::transaction::call::{Call, CallState};
use crate::transaction::current_call::{CurrentCall, enter};

/// Progress of a call that was polled on the main thread.
pub(crate) enum Polled {
    /// The call is over; its reply.
    Done(Vec<u8>),
    /// It used up its time slice and wants to be polled again.
    Yielded,
    /// It waits for something.
    Waiting,
}

/// Runs the job in its mailbox whenever it is polled.
pub(crate) struct Runner {
    future: Pin<Box<dyn Future<Output = Infallible> + Send>>,
    mailbox: Arc<Mailbox>,
    /// Wakes the mailbox; made once, because calls on the main thread are short.
    waker: Waker,
}

impl Runner {
    fn new(runtime: &'static Runtime<ServerKeyspace>) -> Self {
        // SAFETY: the methods of the mailbox are called in this file alone: here with `&mut self`,
        // and by `run_jobs` in `future`, which is polled with `&mut self` too and gives the mailbox
        // to nothing else. So their caller has the runner to itself, and a runner reaches another
        // thread only by being moved there.
        let mailbox = unsafe { Mailbox::new() };
        Self {
            future: Box::pin(run_jobs(runtime, Arc::clone(&mailbox))),
            waker: Waker::from(Arc::clone(&mailbox)),
            mailbox,
        }
    }

    /// Gives the runner its next job, which the next poll begins.
    fn begin(&mut self, call: Arc<Call>, job: Job) {
        self.mailbox.put_job(call, job);
    }

    /// Polls the call once; returns its reply when it is over.
    ///
    /// `current` is the call that the runner was given, with what it may use on this thread.
    /// Dropping a runner before its call is over ends the call.
    pub(crate) fn poll(
        &mut self,
        current: &CurrentCall<'_>,
        waking: &mut Waking<'_>,
    ) -> Poll<Vec<u8>> {
        match enter(current, || self.future.as_mut().poll(waking)) {
            Poll::Ready(never) => match never {},
            Poll::Pending => match self.mailbox.take_reply() {
                Some(reply) => Poll::Ready(reply),
                None => Poll::Pending,
            },
        }
    }

    /// Polls the call once on the main thread, where nothing polls it later by itself.
    pub(crate) fn poll_on_main_thread(&mut self, current: &CurrentCall<'_>) -> Polled {
        self.mailbox.clear_woken();
        let future = self.future.as_mut();
        let mut waking = Waking::from_waker(&self.waker);
        match enter(current, || future.poll(&mut waking)) {
            Poll::Ready(never) => match never {},
            Poll::Pending => match self.mailbox.take_reply() {
                Some(reply) => Polled::Done(reply),
                None if self.mailbox.is_woken() => Polled::Yielded,
                None => Polled::Waiting,
            },
        }
    }

    fn keep_buffer(&mut self, reply: Vec<u8>) {
        self.mailbox.keep_buffer(reply);
    }
}

async fn run_jobs(runtime: &'static Runtime<ServerKeyspace>, mailbox: Arc<Mailbox>) -> Infallible {
    loop {
        let (call, job) = poll_fn(|_| mailbox.take_job().map_or(Poll::Pending, Poll::Ready)).await;
        let reply = match job {
            Job::Command {
                spec,
                protocol,
                time_max,
                user,
            } => {
                let mut reply = Encoder::with_buffer(protocol, mailbox.take_buffer());
                command(runtime, spec, &call, time_max, user, &mut reply).await;
                reply.take()
            }
            Job::Function {
                function,
                protocol,
                keys,
            } => {
                let mut reply = Encoder::with_buffer(protocol, mailbox.take_buffer());
                let slices = call.args.slices();
                let (keys, args) = slices.split_at(keys);
                let mut request = CallRequest::new(&[], keys, args).with_function(function.held());
                request.database = call.database;
                // It stays on the main thread to its end.
                request.may_wait = false;
                let _ = runtime.call(&request, &mut reply).await;
                reply.take()
            }
            Job::Part(part) => {
                let mut reply = Encoder::new(part.protocol);
                let args: Vec<&[u8]> = part.args.iter().map(|word| &**word).collect();
                let request = part.request(&args, call.database);
                let _ = runtime.call(&request, &mut reply).await;
                reply.take()
            }
            Job::Background(mut background) => {
                background.run().await;
                background.publish();
                Vec::new()
            }
            Job::Event(delivery) => {
                // Larger than the other calls, and rarer.
                Box::pin(delivery.run()).await;
                Vec::new()
            }
            Job::Schedule(due) => {
                Box::pin(due.run()).await;
                Vec::new()
            }
            Job::Request(due) => {
                // The server says with `appendfsync` when a commit is on disk.
                Box::pin(due.send(|()| std::future::ready(true))).await;
                Vec::new()
            }
        };
        // Before the reply: once there is one, the runner's owner reuses the call.
        drop(call);
        mailbox.put_reply(reply);
    }
}

/// Runs a command that lasts as long as the function it calls.
async fn command(
    runtime: &'static Runtime<ServerKeyspace>,
    spec: &'static Spec,
    call: &Call,
    time_max: Option<Duration>,
    user: UserShare,
    reply: &mut Encoder,
) {
    // A call inside a transaction or script has a time of its own, and keeps the main thread.
    let may_wait = time_max.is_none();
    let cap = |asked: Option<Duration>| match (asked, time_max) {
        (Some(asked), Some(max)) => Some(asked.min(max)),
        (asked, max) => asked.or(max),
    };
    let slices = call.args.slices();
    match spec.read(&slices) {
        Err(error) => reply.error_display(&error),
        Ok(Command::Call(mut request)) => {
            request.timeout = cap(request.timeout);
            call.set_keys(range_of(request.keys, &slices));
            let mut request = request.request(call.database, None);
            request.may_wait = may_wait;
            request.user = user;
            let _ = runtime.call(&request, reply).await;
        }
        Ok(Command::Profile(mut request)) => {
            request.timeout = cap(request.timeout);
            call.set_keys(range_of(request.keys, &slices));
            let mut request = request.request(call.database, None);
            request.may_wait = may_wait;
            request.user = user;
            let _ = runtime.profile(&request, reply).await;
        }
        Ok(command) => {
            let scope = Scope {
                database: call.database,
                user,
                ..Scope::default()
            };
            let _ = runtime.run(command, scope, reply).await;
        }
    }
}

/// Returns the range of `whole` that `part` is; `part` must be a slice of it.
fn range_of<T>(part: &[T], whole: &[T]) -> std::ops::Range<usize> {
    if part.is_empty() {
        return 0..0;
    }
    let start = (part.as_ptr().addr() - whole.as_ptr().addr()) / size_of::<T>();
    start..start + part.len()
}

/// A call and the runner that runs it.
pub(crate) struct Run {
    pub(crate) call: Arc<Call>,
    /// Data that the call has read and written.
    pub(crate) state: RefCell<CallState>,
    pub(crate) runner: Runner,
}

impl Run {
    /// A run of a call that no command has begun, for a thread of the pool.
    pub(crate) fn without_command(
        runtime: &'static Runtime<ServerKeyspace>,
        database: u32,
        job: Job,
    ) -> Box<Self> {
        let mut run = Box::new(Self {
            call: Arc::new(Call::new(Args::none(), database)),
            state: RefCell::default(),
            runner: Runner::new(runtime),
        });
        run.runner.begin(Arc::clone(&run.call), job);
        run
    }
}

/// Keeps the run of the last call on the main thread for the next one.
pub(crate) struct IdleRun(LockedCell<Option<Box<Run>>>);

impl IdleRun {
    pub(crate) const fn new() -> Self {
        Self(LockedCell::new(None))
    }

    /// Makes a run of a call that has not begun, out of the idle one if there is one.
    pub(crate) fn begin(
        &self,
        context: Context<'_>,
        runtime: &'static Runtime<ServerKeyspace>,
        args: Args,
        database: u32,
        job: Job,
    ) -> Box<Run> {
        // None is idle while a call runs whose command leads to another call.
        let mut run = self.0.take(context).unwrap_or_else(|| {
            Box::new(Run {
                call: Arc::new(Call::new(Args::none(), 0)),
                state: RefCell::default(),
                runner: Runner::new(runtime),
            })
        });
        match Arc::get_mut(&mut run.call) {
            Some(call) => call.begin(args, database),
            None => run.call = Arc::new(Call::new(args, database)),
        }
        run.runner.begin(Arc::clone(&run.call), job);
        run
    }

    /// Keeps the run of a call that is over, with the buffer of its reply.
    ///
    /// Returns the run if the call has left writes that must be rolled back.
    pub(crate) fn keep(
        &self,
        context: Context<'_>,
        mut run: Box<Run>,
        reply: Vec<u8>,
    ) -> Option<Box<Run>> {
        if !run.state.get_mut().reset_for_next() {
            return Some(run);
        }
        run.runner.keep_buffer(reply);
        self.0.set(context, Some(run));
        None
    }
}
