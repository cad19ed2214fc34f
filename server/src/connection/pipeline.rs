//! One client's requests and replies, apart from how requests arrive.

use std::pin::pin;
use std::sync::Arc;

use ferrite_protocol::resp::{Encoder, Protocol};

use crate::clients::registry::Client;
use crate::clients::session::Session;
use crate::commands::{Flow, Scope};
use crate::connection::close_reason::End;
use crate::connection::durability::Unsettled;
use crate::dispatch;
use crate::dispatch::outcome::{Later, Step};
use crate::net::buffers;
use crate::net::socket::Socket;
use crate::scheduling::futures::poll_once;
use crate::state::Host;

/// Replies are sent once there are so many bytes of them, even if more requests are waiting.
const REPLY_BATCH_BYTES: usize = 64 * 1024;

/// One client's requests and replies.
pub(crate) struct Conversation<'a> {
    pub(crate) host: &'a Arc<Host>,
    pub(crate) client: &'a Client,
    pub(crate) socket: Socket,
    pub(crate) session: Session,
    reply: Encoder,
    /// Where a request that may have to wait writes, so that what was answered before it can be
    /// sent meanwhile.
    aside: Encoder,
    unsettled: Unsettled,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(
        host: &'a Arc<Host>,
        client: &'a Client,
        socket: Socket,
        session: Session,
    ) -> Self {
        Self {
            host,
            client,
            socket,
            session,
            reply: Encoder::new(Protocol::Resp2),
            aside: Encoder::new(Protocol::Resp2),
            unsettled: Unsettled::default(),
        }
    }

    /// Lends the buffers that replies are written into.
    pub(crate) fn lend_buffers(&mut self) {
        let protocol = self.reply.protocol();
        self.reply = Encoder::with_buffer(protocol, buffers::lend());
        self.aside = Encoder::with_buffer(protocol, buffers::lend());
    }

    /// Gives them back; everything was sent, or never will be.
    pub(crate) fn give_buffers_back(&mut self) {
        buffers::give_back(self.reply.take());
        buffers::give_back(self.aside.take());
    }

    /// Answers a request, or says what it has to wait for.
    #[inline]
    pub(crate) fn start<'r>(&mut self, argv: &'r [&'r [u8]]) -> Step<'r> {
        let mut scope = Scope {
            host: self.host,
            client: self.client,
            session: &mut self.session,
            reply: &mut self.reply,
        };
        dispatch::start(&mut scope, argv)
    }

    /// Answers a request that may have to wait. When it does, what was answered before is sent, and
    /// a client that goes away ends it.
    pub(crate) async fn finish(&mut self, later: Later<'_>, name: &[u8]) -> Result<Flow, End> {
        self.unsettled.gather(&mut self.session);
        let Self {
            host,
            client,
            socket,
            session,
            reply,
            aside,
            unsettled,
        } = self;
        aside.set_protocol(reply.protocol());
        let mut scope = Scope {
            host,
            client,
            session,
            reply: aside,
        };
        let flow = {
            let mut running = pin!(later.run(&mut scope));
            match poll_once(running.as_mut()).await {
                // Most calls end at once, and never come to look at the socket.
                Some(flow) => flow,
                None => {
                    let meanwhile = async {
                        client.activity.set_command(name);
                        if let Err(end) = flush(host, unsettled, socket, reply).await {
                            return end;
                        }
                        gone(socket, client).await;
                        End::Gone
                    };
                    let work = async {
                        tokio::select! {
                            biased;
                            flow = running => Ok(flow),
                            end = meanwhile => Err(end),
                        }
                    };
                    let ended = host.long_calls.run(Box::pin(work)).await;
                    ended.unwrap_or(Err(End::Cut))?
                }
            }
        };
        if reply.is_empty() {
            std::mem::swap(reply, aside);
        } else {
            reply.raw(aside.bytes());
            aside.clear();
            aside.shrink_to(REPLY_BATCH_BYTES);
        }
        Ok(flow)
    }

    /// Writes the error of bytes that are no request.
    pub(crate) fn refuse(&mut self, error: impl std::fmt::Display) {
        self.reply.error(format!("ERR {error}"));
    }

    /// Whether there is so much to send that it should be.
    pub(crate) const fn is_full(&self) -> bool {
        self.reply.len() >= REPLY_BATCH_BYTES
    }

    /// Sends what there is to send.
    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        self.unsettled.gather(&mut self.session);
        let Self {
            host,
            socket,
            reply,
            unsettled,
            ..
        } = self;
        flush(host, unsettled, socket, reply).await
    }
}

/// Sends what there is to send.
///
/// No further request is looked at meanwhile, so a client that takes no replies holds back itself
/// alone, and only for so long.
async fn flush(
    host: &Host,
    unsettled: &mut Unsettled,
    socket: &mut Socket,
    reply: &mut Encoder,
) -> Result<(), End> {
    if reply.is_empty() {
        return Ok(());
    }
    let patience = host.config.server.write_timeout.0;
    if let Err(error) = unsettled.settle().await {
        // What was answered would be a lie. The error stands for all of it, and nothing follows.
        reply.clear();
        reply.error_display(&error);
        socket.write(reply.bytes(), patience).await?;
        return Err(End::Unsettled(error));
    }
    socket.write(reply.bytes(), patience).await?;
    host.stats.output_bytes.add(reply.len() as u64);
    reply.clear();
    reply.shrink_to(REPLY_BATCH_BYTES);
    Ok(())
}

/// Waits for the client to go away, which ends what it waits for.
///
/// When it is us who take no more requests, what runs may end first.
async fn gone(socket: &Socket, client: &Client) {
    socket.gone().await;
    if client.is_stopping() {
        std::future::pending::<()>().await;
    }
}
