//! What the thread of calls on all nodes is told, and the way there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::cluster_call::gathering::Asked;
use crate::cluster_call::primaries::Topology;
use crate::cluster_call::running::RunningCall;
use crate::execution::blocked_client::WaitingClient;
use crate::execution::worker_pool::Cancel;

/// Most events that wait for the thread.
const WAITING_MAX: usize = 4096;

/// Something that the thread has to know.
pub(crate) enum Event {
    /// A client asks for a call on all nodes.
    Begin(Box<Begin>),
    /// Another node sent a message of this kind.
    Message {
        sender: Box<[u8]>,
        kind: u8,
        payload: Box<[u8]>,
    },
    /// The part of a call that runs on the asked node has ended.
    Mapped { id: u64, reply: Vec<u8> },
    /// The entry that gets the replies has ended.
    Reduced { id: u64, reply: Vec<u8> },
    /// A call for another node has ended.
    Served { key: ServedKey, reply: Vec<u8> },
    /// A flag was set.
    Wake,
}

/// A client's request.
pub(crate) struct Begin {
    pub(crate) id: u64,
    pub(crate) asked: Asked,
    pub(crate) topology: Topology,
    pub(crate) client: WaitingClient,
    pub(crate) departure: Arc<Departure>,
}

/// A call for another node: the node's id, and the call's number there.
pub(crate) type ServedKey = (Box<[u8]>, u64);

/// Tells the thread of events.
#[derive(Clone)]
pub(crate) struct EventSender(SyncSender<Event>);

/// Makes the way to the thread.
pub(crate) fn channel() -> (EventSender, Receiver<Event>) {
    let (sender, receiver) = sync_channel(WAITING_MAX);
    (EventSender(sender), receiver)
}

impl EventSender {
    /// Tells an event from the main thread, which must not wait. Gives it back if too many wait
    /// already.
    pub(crate) fn tell(&self, event: Event) -> Result<(), Event> {
        self.0.try_send(event).map_err(|refused| match refused {
            TrySendError::Full(event) | TrySendError::Disconnected(event) => event,
        })
    }

    /// Tells an event from a thread of the pool, which waits until there is room for it.
    pub(crate) fn tell_waiting(&self, event: Event) {
        // Without the thread nobody waits for the event.
        let _ = self.0.send(event);
    }
}

/// Ends a call when its client goes away.
pub(crate) struct Departure {
    pub(crate) running: RunningCall,
    pub(crate) events: EventSender,
}

impl Cancel for Departure {
    fn cancel(self: Arc<Self>) {
        self.running.stop.abandoned.store(true, Ordering::Relaxed);
        // If there is no room, the thread is awake and sees the flag.
        let _ = self.events.tell(Event::Wake);
    }
}
