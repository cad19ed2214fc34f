//! The messages that wait for one client.

use std::collections::VecDeque;
use std::sync::Arc;

use ferrite_protocol::resp::Encoder;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Bytes of messages that may wait for a client; one that reads more slowly is disconnected.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of messages that are written at once.
const BATCH_BYTES: usize = 64 * 1024;
/// Bytes that a message takes up besides its text.
const OVERHEAD_BYTES: usize = 64;

/// A line or message that clients get without asking; all that get it share it.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// A message on a channel.
    Published(Published),
    /// A request of some client, as `MONITOR` shows it.
    Request(Arc<str>),
}

/// A message on a channel.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// The pattern that matched the channel, for clients that subscribed to patterns.
    pub(crate) pattern: Option<Arc<[u8]>>,
    pub(crate) channel: Arc<[u8]>,
    pub(crate) payload: Arc<[u8]>,
}

impl Message {
    fn len(&self) -> usize {
        let text = match self {
            Self::Published(published) => published.channel.len() + published.payload.len(),
            Self::Request(line) => line.len(),
        };
        OVERHEAD_BYTES + text
    }

    fn write(&self, out: &mut Encoder) {
        match self {
            Self::Published(published) => published.write(out),
            Self::Request(line) => out.simple(&**line),
        }
    }
}

impl Published {
    fn write(&self, out: &mut Encoder) {
        match &self.pattern {
            Some(pattern) => {
                out.push(4);
                out.bulk(b"pmessage");
                out.bulk(pattern);
            }
            None => {
                out.push(3);
                out.bulk(b"message");
            }
        }
        out.bulk(&self.channel);
        out.bulk(&self.payload);
    }
}

/// The mailbox of a client that has subscribed.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
    overflowed: bool,
}

/// The client reads its messages more slowly than they come.
#[derive(Debug)]
pub(crate) struct Overflowed;

impl Mailbox {
    pub(super) fn put(&self, message: Message) {
        let mut waiting = self.waiting.lock();
        if waiting.overflowed {
            return;
        }
        waiting.bytes += message.len();
        if waiting.bytes > WAITING_BYTES_MAX {
            *waiting = Waiting {
                overflowed: true,
                ..Waiting::default()
            };
        } else {
            waiting.messages.push_back(message);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Waits until there may be messages.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Writes some of the messages; none if none wait.
    pub(crate) fn take(&self, out: &mut Encoder) -> Result<(), Overflowed> {
        let mut waiting = self.waiting.lock();
        if waiting.overflowed {
            return Err(Overflowed);
        }
        while out.len() < BATCH_BYTES
            && let Some(message) = waiting.messages.pop_front()
        {
            waiting.bytes -= message.len();
            message.write(out);
        }
        Ok(())
    }
}
