//! The thread that looks after all calls on all nodes, those of this node's clients and those for
//! other nodes.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::api::context::Context;
use crate::api::panic_guard::guard;
use crate::cluster_call::asked::{AskedCalls, Surroundings};
use crate::cluster_call::events::{Event, EventSender, channel};
use crate::cluster_call::message::{END, REPLY, RUN, RunReply, RunRequest, decode_end};
use crate::cluster_call::served::ServedCalls;
use crate::execution::blocked_client::locked_context_of_module;
use crate::module::Module;
use crate::transaction::current_call::LockedContext;

/// Time between two looks at the calls that run.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Starts the thread, and returns the way to it; `None` if that is not possible now.
pub(crate) fn start(module: &'static Module, context: Context<'_>) -> Option<EventSender> {
    let locked = locked_context_of_module(context)?;
    let (sender, receiver) = channel();
    let events = sender.clone();
    // What the closure owns is dropped here, on the main thread, if no thread starts; a context must
    // not be. So it is handed over afterwards.
    let (hand_over, handed_over) = std::sync::mpsc::channel::<LockedContext>();
    let started = std::thread::Builder::new()
        .name("ferrite-nodes".to_owned())
        .spawn(move || {
            if let Ok(locked) = handed_over.recv() {
                work(module, &locked, &receiver, &events);
            }
        });
    if started.is_err() {
        // Left to the process: dropping it would wait for the lock that this thread holds.
        std::mem::forget(locked);
        return None;
    }
    if let Err(unsent) = hand_over.send(locked) {
        std::mem::forget(unsent.0);
        return None;
    }
    Some(sender)
}

fn work(
    module: &'static Module,
    locked: &LockedContext,
    receiver: &Receiver<Event>,
    events: &EventSender,
) {
    let (mut asked, mut served) = (AskedCalls::default(), ServedCalls::default());
    let mut looked = Instant::now();
    loop {
        let event = if asked.is_empty() && served.is_empty() {
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            receiver.recv_timeout(LOOK_EVERY.saturating_sub(looked.elapsed()))
        };
        let event = match event {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        guard("a call on all nodes", (), || {
            let look = event
                .as_ref()
                .is_none_or(|event| matches!(event, Event::Wake))
                || looked.elapsed() >= LOOK_EVERY;
            let work = event.and_then(Work::of);
            locked.with_lock(|context| {
                let around = Surroundings {
                    module,
                    events,
                    context,
                };
                if let Some(work) = work {
                    work.run(around, &mut asked, &mut served);
                }
                if look {
                    looked = Instant::now();
                    asked.look_after(around);
                    served.forget_old();
                }
            });
        });
    }
}

/// An event that was read.
enum Work {
    Event(Event),
    Run {
        sender: Box<[u8]>,
        request: RunRequest,
    },
    Reply {
        sender: Box<[u8]>,
        reply: RunReply,
    },
    End {
        sender: Box<[u8]>,
        id: u64,
    },
}

impl Work {
    /// Reads an event; `None` for a message that means nothing here. Messages may be long, so that is
    /// done before the server's lock is taken.
    fn of(event: Event) -> Option<Self> {
        let Event::Message {
            sender,
            kind,
            payload,
        } = event
        else {
            return Some(Self::Event(event));
        };
        let shown = sender.escape_ascii().to_string();
        let read = match kind {
            RUN => RunRequest::decode(&payload).map(|request| Self::Run { sender, request }),
            REPLY => RunReply::decode(&payload).map(|reply| Self::Reply { sender, reply }),
            END => decode_end(&payload).map(|id| Self::End { sender, id }),
            _ => None,
        };
        if read.is_none() {
            tracing::warn!(
                sender = %shown,
                "a message of another node about a call cannot be read; run the same version of the module on every node"
            );
        }
        read
    }

    fn run(self, around: Surroundings<'_>, asked: &mut AskedCalls, served: &mut ServedCalls) {
        match self {
            Self::Event(Event::Begin(begin)) => asked.begin(around, *begin),
            Self::Event(Event::Mapped { id, reply }) => asked.mapped(around, id, reply),
            Self::Event(Event::Reduced { id, reply }) => asked.reduced(id, reply),
            Self::Event(Event::Served { key, reply }) => served.ended(around.context, &key, reply),
            Self::Event(Event::Wake | Event::Message { .. }) => {}
            Self::Run { sender, request } => {
                let Surroundings {
                    module,
                    events,
                    context,
                } = around;
                served.run(module, context, events, &sender, request);
            }
            Self::Reply { sender, reply } => asked.replied(around, &sender, reply),
            Self::End { sender, id } => served.end(&(sender, id)),
        }
    }
}
