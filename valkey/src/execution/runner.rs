//! What runs calls: one future that is made once and runs one call after the other.
//!
//! The state of a call on its way through the runtime is some thousand bytes. A future for each call
//! would be allocated, moved there and freed again, which takes longer than a short function runs. So
//! a runner waits between calls where it is, and only a call that goes on beside the main thread takes
//! its runner along.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Waking, Poll};
use std::time::Duration;

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::commands::{BackgroundCall, Command, Scope, Spec};
use ferrite_runtime::{CallRequest, Runtime};

use crate::api::string::Words;
use crate::scripting::library::LibraryFunction;
use crate::transaction::ServerKeyspace;
use crate::transaction::call::{Call, State};
use crate::transaction::current_call::{self, Place, during};

/// A reply's buffer larger than this is not kept for the next call.
const BUFFER_KEEP_BYTES: usize = 64 << 10;

/// What a call is to do; its words are with the [`Call`].
pub(crate) enum Order {
    /// To run a command that calls a function.
    Command {
        spec: &'static Spec,
        protocol: Protocol,
        /// How long it may take, where that is less than others may.
        time_max: Option<Duration>,
    },
    /// To run a function of a library, whose first words are `keys` keys.
    Function {
        function: Arc<LibraryFunction>,
        protocol: Protocol,
        keys: usize,
    },
    /// To run a call whose reply is fetched later.
    Background(Box<BackgroundCall<ServerKeyspace>>),
}

/// Runs the calls of the places in which it is polled.
pub(crate) struct Runner {
    future: Pin<Box<dyn Future<Output = Infallible> + Send>>,
    /// What is to be done next.
    order: Option<Order>,
}

impl Runner {
    fn new(runtime: &'static Runtime<ServerKeyspace>) -> Self {
        Self {
            future: Box::pin(run_all(runtime)),
            order: None,
        }
    }

    /// Runs the place's call on; its reply once it is over.
    ///
    /// A runner that is dropped before ends the call.
    pub(crate) fn poll(&mut self, place: &Place<'_>, waking: &mut Waking<'_>) -> Poll<Vec<u8>> {
        if let Some(order) = self.order.take() {
            desk(|desk| desk.order.set(Some(order)));
        }
        match during(place, || self.future.as_mut().poll(waking)) {
            Poll::Ready(never) => match never {},
            Poll::Pending => match desk(|desk| desk.reply.take()).flatten() {
                Some(reply) => Poll::Ready(reply),
                None => Poll::Pending,
            },
        }
    }
}

async fn run_all(runtime: &'static Runtime<ServerKeyspace>) -> Infallible {
    loop {
        let (call, order) = poll_fn(|_| taken().map_or(Poll::Pending, Poll::Ready)).await;
        let reply = match order {
            Order::Command {
                spec,
                protocol,
                time_max,
            } => {
                let mut reply = Encoder::with_buffer(protocol, take_buffer());
                command(runtime, spec, &call, time_max, &mut reply).await;
                reply.take()
            }
            Order::Function {
                function,
                protocol,
                keys,
            } => {
                let mut reply = Encoder::with_buffer(protocol, take_buffer());
                let slices = call.words.slices();
                let (keys, args) = slices.split_at(keys);
                let mut request = CallRequest::new(&[], keys, args).with_function(function.entry());
                request.database = call.database;
                let _ = runtime.call(&request, &mut reply).await;
                reply.take()
            }
            Order::Background(mut background) => {
                background.run().await;
                background.publish();
                Vec::new()
            }
        };
        drop(call);
        desk(|desk| desk.reply.set(Some(reply)));
    }
}

/// The call that has this place, and what it is to do.
fn taken() -> Option<(Arc<Call>, Order)> {
    let order = desk(|desk| desk.order.take()).flatten()?;
    Some((current_call::with(|place| Arc::clone(place.call))?, order))
}

/// A command that runs as long as a function does.
async fn command(
    runtime: &'static Runtime<ServerKeyspace>,
    spec: &'static Spec,
    call: &Call,
    time_max: Option<Duration>,
    reply: &mut Encoder,
) {
    let cap = |asked: Option<Duration>| match (asked, time_max) {
        (Some(asked), Some(max)) => Some(asked.min(max)),
        (asked, max) => asked.or(max),
    };
    let slices = call.words.slices();
    match spec.read(&slices) {
        Err(error) => reply.error_display(&error),
        Ok(Command::Call(mut request)) => {
            request.timeout = cap(request.timeout);
            call.set_keys(range_of(request.keys, &slices));
            let request = request.request(call.database, None);
            let _ = runtime.call(&request, reply).await;
        }
        Ok(mut command) => {
            if let Command::Profile(request) = &mut command {
                request.timeout = cap(request.timeout);
                call.set_keys(range_of(request.keys, &slices));
            }
            let scope = Scope {
                database: call.database,
                handle: None,
            };
            let _ = runtime.run(command, scope, reply).await;
        }
    }
}

/// Where `part`, which was cut out of `whole`, begins and ends in it.
fn range_of<T>(part: &[T], whole: &[T]) -> std::ops::Range<usize> {
    if part.is_empty() {
        return 0..0;
    }
    let start = (part.as_ptr().addr() - whole.as_ptr().addr()) / size_of::<T>();
    start..start + part.len()
}

/// A call and what runs it.
pub(crate) struct Run {
    pub(crate) call: Arc<Call>,
    /// What the call has read and written.
    pub(crate) state: RefCell<State>,
    pub(crate) runner: Runner,
}

/// What a thread that runs calls has at hand.
struct Desk {
    /// What is to be done by the runner that is polled now, until it begins.
    order: Cell<Option<Order>>,
    /// What it answered.
    reply: Cell<Option<Vec<u8>>>,
    /// What ran the last call, which is over.
    idle: Cell<Option<Box<Run>>>,
    /// The buffer of the last reply.
    buffer: Cell<Vec<u8>>,
}

/// Uses what this thread has at hand; `None` while the thread ends.
fn desk<R>(work: impl FnOnce(&Desk) -> R) -> Option<R> {
    thread_local! {
        static DESK: Desk = const {
            Desk {
                order: Cell::new(None),
                reply: Cell::new(None),
                idle: Cell::new(None),
                buffer: Cell::new(Vec::new()),
            }
        };
    }
    DESK.try_with(work).ok()
}

/// The buffer of this thread's last reply, to write another into.
fn take_buffer() -> Vec<u8> {
    desk(|desk| desk.buffer.take()).unwrap_or_default()
}

impl Run {
    /// A call of these words that has not begun.
    pub(crate) fn new(
        runtime: &'static Runtime<ServerKeyspace>,
        words: Words,
        database: u32,
        order: Order,
    ) -> Box<Self> {
        // There is none while a call runs that leads to another one.
        let idle = desk(|desk| desk.idle.take()).flatten();
        let mut run = idle.unwrap_or_else(|| {
            Box::new(Self {
                call: Arc::new(Call::new(Words::none(), 0)),
                state: RefCell::default(),
                runner: Runner::new(runtime),
            })
        });
        match Arc::get_mut(&mut run.call) {
            Some(call) => call.begin(words, database),
            None => run.call = Arc::new(Call::new(words, database)),
        }
        run.runner.order = Some(order);
        run
    }

    /// Keeps what ran a call that is over for the next one, and the buffer of its reply; gives the call
    /// back if it left anything behind.
    pub(crate) fn keep(mut self: Box<Self>, mut reply: Vec<u8>) -> Option<Box<Self>> {
        if !self.state.get_mut().end() {
            return Some(self);
        }
        desk(|desk| {
            if reply.capacity() <= BUFFER_KEEP_BYTES {
                reply.clear();
                desk.buffer.set(reply);
            }
            desk.idle.set(Some(self));
        });
        None
    }
}
