//! One client's requests and replies, apart from how requests arrive.

use std::pin::pin;
use std::sync::Arc;

use ferrite_protocol::resp::{Encoder, Protocol};

use crate::clients::registry::Client;
use crate::clients::session::ClientSession;
use crate::connection::close_reason::CloseReason;
use crate::connection::durability::PendingDurability;
use crate::dispatch;
use crate::dispatch::progress::{Pending, Progress};
use crate::net::buffers;
use crate::net::socket::Socket;
use crate::request::{AfterReply, RequestContext};
use crate::scheduling::futures::poll_once;
use crate::state::ServerState;

/// Replies are sent once there are so many bytes of them, even if more requests are waiting.
const REPLY_BATCH_BYTES: usize = 64 * 1024;

/// One client's requests and replies.
pub(crate) struct Pipeline<'a> {
    pub(crate) state: &'a Arc<ServerState>,
    pub(crate) client: &'a Client,
    pub(crate) socket: Socket,
    pub(crate) session: ClientSession,
    reply: Encoder,
    /// Where a request that may have to wait writes, so that what was answered before it can be
    /// sent meanwhile.
    aside: Encoder,
    durability: PendingDurability,
}

impl<'a> Pipeline<'a> {
    pub(crate) fn new(
        state: &'a Arc<ServerState>,
        client: &'a Client,
        socket: Socket,
        session: ClientSession,
    ) -> Self {
        Self {
            state,
            client,
            socket,
            session,
            reply: Encoder::new(Protocol::Resp2),
            aside: Encoder::new(Protocol::Resp2),
            durability: PendingDurability::default(),
        }
    }

    /// Lends the buffers that replies are written into.
    pub(crate) fn take_buffers(&mut self) {
        let protocol = self.reply.protocol();
        self.reply = Encoder::with_buffer(protocol, buffers::take());
        self.aside = Encoder::with_buffer(protocol, buffers::take());
    }

    /// Gives them back; everything was sent, or never will be.
    pub(crate) fn recycle_buffers(&mut self) {
        buffers::recycle(self.reply.take());
        buffers::recycle(self.aside.take());
    }

    /// Answers a request, or says what it has to wait for.
    #[inline]
    pub(crate) fn start<'r>(&mut self, argv: &'r [&'r [u8]]) -> Progress<'r> {
        let mut context = RequestContext {
            state: self.state,
            client: self.client,
            session: &mut self.session,
            reply: &mut self.reply,
        };
        dispatch::start(&mut context, argv)
    }

    /// Answers a request that may have to wait. When it does, what was answered before is sent, and
    /// a client that goes away ends it.
    pub(crate) async fn finish(
        &mut self,
        pending: Pending<'_>,
        name: &[u8],
    ) -> Result<AfterReply, CloseReason> {
        self.durability.take_from(&mut self.session);
        let Self {
            state,
            client,
            socket,
            session,
            reply,
            aside,
            durability,
        } = self;
        aside.set_protocol(reply.protocol());
        let mut context = RequestContext {
            state,
            client,
            session,
            reply: aside,
        };
        let flow = {
            let mut running = pin!(pending.run(&mut context));
            match poll_once(running.as_mut()).await {
                // Most calls end at once, and never come to look at the socket.
                Some(flow) => flow,
                None => {
                    let meanwhile = async {
                        client.activity.set_command(name);
                        if let Err(end) = flush(state, durability, socket, reply).await {
                            return end;
                        }
                        gone(socket, client).await;
                        CloseReason::ClientLeft
                    };
                    let work = async {
                        tokio::select! {
                            biased;
                            flow = running => Ok(flow),
                            end = meanwhile => Err(end),
                        }
                    };
                    let ended = state.long_calls.run(Box::pin(work)).await;
                    ended.unwrap_or(Err(CloseReason::ServerStopped))?
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
    pub(crate) async fn flush(&mut self) -> Result<(), CloseReason> {
        self.durability.take_from(&mut self.session);
        let Self {
            state,
            socket,
            reply,
            durability,
            ..
        } = self;
        flush(state, durability, socket, reply).await
    }
}

/// Sends what there is to send.
///
/// No further request is looked at meanwhile, so a client that takes no replies holds back itself
/// alone, and only for so long.
async fn flush(
    state: &ServerState,
    durability: &mut PendingDurability,
    socket: &mut Socket,
    reply: &mut Encoder,
) -> Result<(), CloseReason> {
    if reply.is_empty() {
        return Ok(());
    }
    let timeout = state.config.server.write_timeout.0;
    if let Err(error) = durability.wait().await {
        // What was answered would be a lie. The error stands for all of it, and nothing follows.
        reply.clear();
        reply.error_display(&error);
        socket.write(reply.bytes(), timeout).await?;
        return Err(CloseReason::NotDurable(error));
    }
    socket.write(reply.bytes(), timeout).await?;
    state.stats.output_bytes.add(reply.len() as u64);
    reply.clear();
    reply.shrink_to(REPLY_BATCH_BYTES);
    Ok(())
}

/// Waits for the client to go away, which ends what it waits for.
///
/// When it is us who take no more requests, what runs may end first.
async fn gone(socket: &Socket, client: &Client) {
    socket.gone().await;
    if client.is_draining() {
        std::future::pending::<()>().await;
    }
}
