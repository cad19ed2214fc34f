//! What runs calls: one future that is made once and runs one call after the other.
//!
//! The state of a call on its way through the runtime is some thousand bytes. A future for each call
//! would be allocated, moved there and freed again, which takes longer than a short function runs. So
//! a runner waits between calls where it is, and only a call that goes on beside the main thread takes
//! its runner along.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Waking, Poll};
use std::time::Duration;

use ferrite_runtime::CallRequest;
use ferrite_runtime::commands::{AsyncCall, Command, Scope, Spec};
use ferrite_runtime::resp::{Encoder, Protocol};

use crate::call::Call;
use crate::keyspace::ServerKeyspace;
use crate::library::LibraryFunction;
use crate::module::Module;
use crate::place;
use crate::words::Words;

/// What a call is to do; its words are with the [`Call`].
pub(crate) enum Order {
    /// To run a command that calls a function, for `time_max` at most.
    Command {
        spec: &'static Spec,
        protocol: Protocol,
        time_max: Option<Duration>,
    },
    /// To run a function of a library, whose first words are `keys` keys.
    Function {
        function: Arc<LibraryFunction>,
        protocol: Protocol,
        keys: usize,
    },
    /// To run a call whose reply is fetched later.
    Background(Box<AsyncCall<ServerKeyspace>>),
}

/// Runs calls, whichever has the place in which it is polled.
pub(crate) struct Runner(Pin<Box<dyn Future<Output = Infallible> + Send>>);

impl Runner {
    pub(crate) fn new(module: &'static Module) -> Self {
        Self(Box::pin(run_all(module)))
    }

    /// Runs `call` on, for which there must be a place; its reply once it is over.
    ///
    /// A runner that is dropped before ends the call.
    pub(crate) fn poll(&mut self, call: &Call, waking: &mut Waking<'_>) -> Poll<Vec<u8>> {
        match self.0.as_mut().poll(waking) {
            Poll::Ready(never) => match never {},
            Poll::Pending => {
                let mut state = call.state.lock();
                if std::mem::take(&mut state.answered) {
                    Poll::Ready(std::mem::take(&mut state.reply))
                } else {
                    Poll::Pending
                }
            }
        }
    }
}

async fn run_all(module: &'static Module) -> Infallible {
    loop {
        // Nobody polls without a place; there would be nothing to run.
        let call = poll_fn(|_| match place::with(|place| Arc::clone(place.call)) {
            Some(call) => Poll::Ready(call),
            None => Poll::Pending,
        })
        .await;
        let (order, buffer) = {
            let mut state = call.state.lock();
            (state.order.take(), std::mem::take(&mut state.reply))
        };
        let reply = match order {
            Some(Order::Command {
                spec,
                protocol,
                time_max,
            }) => {
                let mut reply = Encoder::with_buffer(protocol, buffer);
                command(module, spec, &call, time_max, &mut reply).await;
                reply.take()
            }
            Some(Order::Function {
                function,
                protocol,
                keys,
            }) => {
                let mut reply = Encoder::with_buffer(protocol, buffer);
                let slices = call.words.slices();
                let (keys, args) = slices.split_at(keys);
                let mut request = CallRequest::new(function.target(), keys, args);
                request.database = call.database;
                let executor = module.runtime.executor();
                let _ = executor.call(function.code(), &request, &mut reply).await;
                reply.take()
            }
            Some(Order::Background(mut background)) => {
                background.run().await;
                background.publish();
                buffer
            }
            // It is over already.
            None => buffer,
        };
        {
            let mut state = call.state.lock();
            state.reply = reply;
            state.answered = true;
        }
        drop(call);
        // The next call is another turn's.
        let mut rested = false;
        poll_fn(|_| {
            if std::mem::replace(&mut rested, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// A command that runs as long as a function does.
async fn command(
    module: &'static Module,
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
            let _ = module.runtime.call(&request, reply).await;
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
            let _ = module.runtime.run(command, scope, reply).await;
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
    pub(crate) runner: Runner,
}

thread_local! {
    /// What ran the last call of this thread, which is over.
    static IDLE: Cell<Option<Run>> = const { Cell::new(None) };
}

impl Run {
    /// A call of these words that has not begun.
    pub(crate) fn new(module: &'static Module, words: Words, database: u32, order: Order) -> Self {
        // There is none while a call runs that leads to another one.
        let idle = IDLE.try_with(Cell::take).ok().flatten();
        let Some(Self { mut call, runner }) = idle else {
            return Self {
                call: Arc::new(Call::ordered(words, database, order)),
                runner: Runner::new(module),
            };
        };
        match Arc::get_mut(&mut call) {
            Some(call) => call.begin(words, database, order),
            None => call = Arc::new(Call::ordered(words, database, order)),
        }
        Self { call, runner }
    }

    /// Keeps what ran a call that is over for the next one, and the buffer of its reply.
    pub(crate) fn keep(mut self, reply: Vec<u8>) {
        if let Some(call) = Arc::get_mut(&mut self.call) {
            call.end(reply);
            let _ = IDLE.try_with(|idle| idle.set(Some(self)));
        }
    }
}
