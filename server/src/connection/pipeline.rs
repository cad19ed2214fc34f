//! One client's requests and replies, apart from how requests arrive.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::commands::Spec as FunctionSpec;

use crate::clients::pubsub::mailbox::Overflowed;
use crate::clients::registry::Client;
use crate::clients::session::ClientSession;
use crate::commands::command_ref::CommandRef;
use crate::connection::close_reason::CloseReason;
use crate::connection::durability::PendingDurability;
use crate::dispatch::progress::Pending;
use crate::dispatch::{function_commands, waiting};
use crate::net::buffers;
use crate::net::socket::Socket;
use crate::observability::from_outside::for_log;
use crate::observability::slowlog::shortened;
use crate::request::{AfterReply, RequestContext};
use crate::scheduling::futures::poll_once;
use crate::state::ServerState;

/// Replies are sent once they have this many bytes, even if more requests have arrived.
const REPLY_BATCH_BYTES: usize = 64 * 1024;

/// One client's requests and replies.
pub(crate) struct Pipeline<'a> {
    pub(crate) state: &'a Arc<ServerState>,
    pub(crate) client: &'a Client,
    pub(crate) socket: Socket,
    pub(crate) session: ClientSession,
    reply: Encoder,
    /// The reply of a request that may have to wait, so that earlier replies can be sent meanwhile.
    waiting_reply: Encoder,
    durability: PendingDurability,
    /// Length of `reply` before the present request; `None` if its reply is the only one.
    reply_start: usize,
    /// Number of the present request's command.
    command_number: u16,
    /// Time that requests of the present batch have waited.
    pub(crate) waited: Duration,
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
            waiting_reply: Encoder::new(Protocol::Resp2),
            durability: PendingDurability::default(),
            reply_start: 0,
            command_number: u16::MAX,
            waited: Duration::ZERO,
        }
    }

    /// Begins another request, of the command with this number.
    #[inline]
    pub(crate) fn begin_request(&mut self, command_number: Option<u16>) {
        self.command_number = command_number.unwrap_or(u16::MAX);
        self.reply_start = self.reply.len();
    }

    /// Returns the reply of the present request if it is an error.
    #[inline]
    pub(crate) fn error_reply(&self) -> Option<&[u8]> {
        let reply = self.reply.bytes().get(self.reply_start..)?;
        (reply.first() == Some(&b'-')).then_some(reply)
    }

    /// Logs and keeps a command that took long.
    #[inline]
    pub(crate) fn note_time(&self, took: Duration, argv: &[&[u8]]) {
        let slow = self.state.live.slow_call();
        if !slow.is_zero() && took >= slow {
            self.record_slow(took, argv);
        }
    }

    #[cold]
    fn record_slow(&self, took: Duration, argv: &[&[u8]]) {
        let Self { state, client, .. } = self;
        state.latency.record("command", took);
        tracing::warn!(
            command = %for_log(argv.first().copied().unwrap_or_default()),
            took_ms = took.as_millis(),
            client = client.id,
            "slow command"
        );
        state.slow_calls.record(
            took,
            shortened(argv.iter().copied()),
            client.peer.to_string(),
            client.labels().name,
        );
    }

    /// Takes the buffers that replies are written into.
    pub(crate) fn take_buffers(&mut self) {
        let protocol = self.reply.protocol();
        self.reply = Encoder::with_buffer(protocol, buffers::take());
        self.waiting_reply = Encoder::with_buffer(protocol, buffers::take());
    }

    /// Returns the buffers for others to use. Replies that were not sent are lost.
    pub(crate) fn recycle_buffers(&mut self) {
        buffers::recycle(self.reply.take());
        buffers::recycle(self.waiting_reply.take());
    }

    /// Returns the context of a request that is answered at once.
    #[inline]
    pub(crate) fn context(&mut self) -> RequestContext<'_> {
        RequestContext {
            state: self.state,
            client: self.client,
            session: &mut self.session,
            command_number: self.command_number,
            reply: &mut self.reply,
        }
    }

    /// Answers a request of the command `spec`.
    ///
    /// Most calls end without waiting. When one has to wait, earlier replies are sent, and a client
    /// that disconnects aborts it.
    pub(crate) async fn run_function(
        &mut self,
        spec: &'static FunctionSpec,
        argv: &[&[u8]],
    ) -> Result<AfterReply, CloseReason> {
        let mut waited = Duration::ZERO;
        {
            let (mut context, connection) = self.split();
            let running = pin!(function_commands::run(&mut context, spec, argv));
            connection.run(running, argv[0], &mut waited).await?;
        }
        self.waited += waited;
        self.append_reply();
        Ok(AfterReply::KeepOpen)
    }

    /// Waits until the request can be answered, and answers it. Meanwhile earlier replies are sent,
    /// and a client that disconnects ends the wait.
    pub(crate) async fn finish(
        &mut self,
        pending: Pending<'_>,
        name: &[u8],
    ) -> Result<AfterReply, CloseReason> {
        let mut waited = Duration::ZERO;
        let after = {
            let (mut context, connection) = self.split();
            let running = pin!(waiting::finish(pending, &mut context));
            connection.run(running, name, &mut waited).await?
        };
        self.waited += waited;
        self.append_reply();
        Ok(after)
    }

    /// Splits off the parts for a request that may have to wait. It writes its reply apart from
    /// the earlier ones.
    fn split(&mut self) -> (RequestContext<'_>, WhileWaiting<'_>) {
        self.durability.take_from(&mut self.session);
        self.waiting_reply.set_protocol(self.reply.protocol());
        let context = RequestContext {
            state: self.state,
            client: self.client,
            session: &mut self.session,
            command_number: self.command_number,
            reply: &mut self.waiting_reply,
        };
        let connection = WhileWaiting {
            state: self.state,
            client: self.client,
            socket: &mut self.socket,
            reply: &mut self.reply,
            durability: &mut self.durability,
        };
        (context, connection)
    }

    /// Appends the reply of the request that may have waited to those before it.
    fn append_reply(&mut self) {
        let Self {
            reply,
            waiting_reply,
            ..
        } = self;
        self.reply_start = reply.len();
        if reply.is_empty() {
            std::mem::swap(reply, waiting_reply);
        } else {
            reply.raw(waiting_reply.bytes());
            waiting_reply.clear();
            waiting_reply.shrink_to(REPLY_BATCH_BYTES);
        }
    }

    /// Writes the error of input that is no request.
    pub(crate) fn refuse(&mut self, error: impl std::fmt::Display) {
        self.reply.error(format!("ERR {error}"));
    }

    /// Returns true if there are enough replies to send them now.
    pub(crate) const fn is_full(&self) -> bool {
        self.reply.len() >= REPLY_BATCH_BYTES
    }

    /// Shows a request to those who watch, unless it may hold secrets.
    #[cold]
    pub(crate) fn show(&self, command: Option<CommandRef>, argv: &[&[u8]]) {
        let shown = command.is_some_and(CommandRef::may_be_shown);
        if shown && self.session.user().is_some() {
            let database = self.session.store.database();
            self.state.monitors.show(database, self.client.peer, argv);
        }
    }

    /// Sends the messages that wait for the client, if it listens to channels.
    pub(crate) async fn deliver(&mut self) -> Result<(), CloseReason> {
        let Some(subscriptions) = &self.session.subscriptions else {
            return Ok(());
        };
        let timeout = self.state.live.write_timeout();
        loop {
            let mut messages = Encoder::new(self.reply.protocol());
            let taken = subscriptions.mailbox().take(&mut messages);
            taken.map_err(|Overflowed| CloseReason::SlowListener)?;
            if messages.is_empty() {
                return Ok(());
            }
            self.socket.write(messages.bytes(), timeout).await?;
            self.state.stats.output_bytes.add(messages.len() as u64);
        }
    }

    /// Sends all replies, once the writes they report are durable.
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

/// The part of a connection that is served while one of its requests waits.
struct WhileWaiting<'a> {
    state: &'a Arc<ServerState>,
    client: &'a Client,
    socket: &'a mut Socket,
    reply: &'a mut Encoder,
    durability: &'a mut PendingDurability,
}

impl WhileWaiting<'_> {
    /// Runs the request of the command `name` to its end, and stores in `waited` how long that took
    /// from its first wait on. If it has to wait, earlier replies are sent
    /// first, and the request is dropped when the client disconnects.
    async fn run<F: Future<Output: Send> + Send>(
        self,
        mut running: Pin<&mut F>,
        name: &[u8],
        waited: &mut Duration,
    ) -> Result<F::Output, CloseReason> {
        // Most calls end at the first poll and need nothing of what follows.
        if let Some(output) = poll_once(running.as_mut()).await {
            return Ok(output);
        }
        let Self {
            state,
            client,
            socket,
            reply,
            durability,
        } = self;
        let until_left = async {
            client.activity.set_command(name);
            if let Err(reason) = flush(state, durability, socket, reply).await {
                return reason;
            }
            client_left(socket, client).await;
            CloseReason::ClientLeft
        };
        let work = async {
            tokio::select! {
                biased;
                output = running => Ok(output),
                reason = until_left => Err(reason),
            }
        };
        let since = Instant::now();
        let ended = state.long_calls.run(Box::pin(work)).await;
        *waited = since.elapsed();
        ended.unwrap_or(Err(CloseReason::ServerStopped))
    }
}

/// Sends all replies, once the writes they report are durable.
///
/// The connection answers no request meanwhile, so a client that reads no replies delays only itself,
/// and for at most `server.write_timeout`.
async fn flush(
    state: &ServerState,
    durability: &mut PendingDurability,
    socket: &mut Socket,
    reply: &mut Encoder,
) -> Result<(), CloseReason> {
    if reply.is_empty() {
        return Ok(());
    }
    let timeout = state.live.write_timeout();
    if let Err(error) = durability.wait().await {
        // The replies claim that writes are durable. One error stands for all of them, and the
        // connection closes.
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

/// Waits until the client disconnects.
///
/// Does not return when the server has stopped reading: the request that runs may still end.
async fn client_left(socket: &Socket, client: &Client) {
    socket.closed().await;
    if client.is_draining() {
        std::future::pending::<()>().await;
    }
}
