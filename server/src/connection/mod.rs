//! One connection: reads requests, answers them in order, and sends the replies of a batch in one
//! write.

pub(crate) mod close_reason;
pub(crate) mod durability;
mod http_request;
pub(crate) mod pipeline;
mod relay;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ferrite_protocol::resp::{RequestBounds, RequestScanner, Scan};
use smallvec::SmallVec;
use tokio_rustls::TlsAcceptor;

use crate::clients::registry::ClientGuard;
use crate::clients::session::ClientSession;
use crate::commands::command_ref::CommandRef;
use crate::commands::table;
use crate::connection::close_reason::CloseReason;
use crate::connection::http_request::is_http;
use crate::connection::pipeline::Pipeline;
use crate::dispatch::progress::Progress;
use crate::dispatch::{data_commands, server_commands, subscribed, transaction};
use crate::net::buffers::{self, BUFFER_BYTES};
use crate::net::memory_budget::MemoryReservation;
use crate::net::socket::{PlainSocket, Socket};
use crate::observability::command_stats::BatchCounts;
use crate::request::AfterReply;
use crate::scheduling::futures::{TimedOut, with_timeout};
use crate::state::ServerState;

/// While the connection waits for the rest of a request, it keeps at most this much of its start
/// without a buffer.
const PARTIAL_BYTES_MAX: usize = BUFFER_BYTES / 4;

/// A request's words, as slices of the input. Most requests fit without an allocation.
type Arguments<'a> = SmallVec<[&'a [u8]; 16]>;

/// Serves one client until its connection closes.
pub(crate) async fn serve(
    state: Arc<ServerState>,
    guard: ClientGuard,
    socket: PlainSocket,
    tls: Option<TlsAcceptor>,
) {
    let client = Arc::clone(guard.client());
    let generation = state.users.generation();
    let session = ClientSession::new(state.users.current().unnamed(), generation);
    client.update_labels(|labels| labels.user = session.user_name().to_owned());
    tracing::debug!(client = client.id, peer = %client.peer, "connected");
    let timeout = state.live.stall_timeout();
    let socket = match Socket::open(socket, tls, timeout).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(client = client.id, peer = %client.peer, %error, "the TLS handshake failed");
            return;
        }
    };
    if let Some(engine) = &state.engine {
        let scanner = scanner(&state, &session);
        // In a place of its own: it would make every other connection as large.
        let relayed = relay::serve(&state, engine, &client, socket, session, scanner);
        let reason = Box::pin(relayed).await;
        tracing::debug!(client = client.id, peer = %client.peer, %reason, "disconnected");
        return;
    }
    let mut connection = Connection {
        scanner: scanner(&state, &session),
        pipeline: Pipeline::new(&state, &client, socket, session),
        memory: state.request_memory.reserve(),
        unserved: true,
    };
    let reason = connection.run().await;
    if matches!(
        reason,
        CloseReason::WriteTimeout | CloseReason::IdleTimeout | CloseReason::StallTimeout
    ) {
        state.stats.connections_timed_out.add(1);
    }
    tracing::debug!(client = client.id, peer = %client.peer, %reason, "disconnected");
}

struct Connection<'a> {
    scanner: RequestScanner,
    pipeline: Pipeline<'a>,
    memory: MemoryReservation<'a>,
    /// True until the first request.
    unserved: bool,
}

/// Limits for a client that has not authenticated: enough to do so.
const UNAUTHENTICATED_BOUNDS: RequestBounds = RequestBounds {
    bulk_bytes_max: 16 * 1024,
    arguments_max: 10,
    inline_bytes_max: 16 * 1024,
    request_bytes_max: 32 * 1024,
};

fn scanner(state: &ServerState, session: &ClientSession) -> RequestScanner {
    let server = &state.config.server;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    RequestScanner::new(match session.user() {
        None => UNAUTHENTICATED_BOUNDS,
        Some(_) => RequestBounds {
            bulk_bytes_max: size(server.max_value.0),
            arguments_max: server.max_arguments,
            request_bytes_max: size(server.max_request.0),
            ..RequestBounds::default()
        },
    })
}

impl Connection<'_> {
    /// Waits for requests and serves them until the connection closes.
    ///
    /// While it waits it holds no buffers, and the state of running requests is in a box that exists
    /// only while there are requests.
    async fn run(&mut self) -> CloseReason {
        let mut partial: Box<[u8]> = Box::default();
        loop {
            if let Err(reason) = self.wait_for_input(partial.is_empty()).await {
                return reason;
            }
            match Box::pin(self.burst(std::mem::take(&mut partial))).await {
                Ok(rest) => partial = rest,
                Err(reason) => return reason,
            }
        }
    }

    /// Waits until there may be input. Meanwhile the client gets the messages of its channels.
    async fn wait_for_input(&mut self, idle: bool) -> Result<(), CloseReason> {
        let live = &self.pipeline.state.live;
        let (limit, reason) = if idle {
            (live.idle_timeout(), CloseReason::IdleTimeout)
        } else {
            (live.stall_timeout(), CloseReason::StallTimeout)
        };
        loop {
            let mailbox = match &self.pipeline.session.subscriptions {
                Some(subscriptions) if subscriptions.is_active() => {
                    Some(Arc::clone(subscriptions.mailbox()))
                }
                _ => None,
            };
            let readable = self.pipeline.socket.readable();
            let Some(mailbox) = mailbox else {
                return match with_timeout(limit, readable).await {
                    Ok(ready) => Ok(ready?),
                    Err(TimedOut) => Err(reason),
                };
            };
            // A client that listens need not ask for anything.
            let limit = if idle { Duration::ZERO } else { limit };
            tokio::select! {
                ready = with_timeout(limit, readable) => {
                    return match ready {
                        Ok(ready) => Ok(ready?),
                        Err(TimedOut) => Err(reason),
                    };
                }
                () = mailbox.arrived() => {}
            }
            let (session, users) = (&mut self.pipeline.session, &self.pipeline.state.users);
            if session.is_outdated(users.generation()) && !session.look_up_user(users) {
                return Err(CloseReason::UserRemoved);
            }
            self.pipeline.deliver().await?;
        }
    }

    /// Serves requests until no more input is there. `partial` is the start of the first request;
    /// returns the start of the next one.
    async fn burst(&mut self, partial: Box<[u8]>) -> Result<Box<[u8]>, CloseReason> {
        self.pipeline.take_buffers();
        let mut input = buffers::take();
        input.extend_from_slice(&partial);
        let served = self.serve(&mut input).await;
        let rest = input.as_slice().into();
        buffers::recycle(input);
        self.pipeline.recycle_buffers();
        served.map(|()| rest)
    }

    /// Reads into `input` and serves requests until `input` holds nothing, or only the short start
    /// of a request.
    async fn serve(&mut self, input: &mut Vec<u8>) -> Result<(), CloseReason> {
        let state = self.pipeline.state;
        loop {
            // The buffer grows with what has arrived, not with the length that a header claims.
            if input.capacity() - input.len() < BUFFER_BYTES / 2 {
                input.reserve(input.len().max(BUFFER_BYTES));
            }
            let socket = &mut self.pipeline.socket;
            let read = match socket.read_now(input).await {
                Some(read) => read?,
                // A readable socket may still have nothing to read: a connection's first wait always
                // ends at once.
                None if input.len() <= PARTIAL_BYTES_MAX => return Ok(()),
                None => match with_timeout(state.live.stall_timeout(), socket.read(input)).await {
                    Ok(read) => read?,
                    Err(TimedOut) => return Err(CloseReason::StallTimeout),
                },
            };
            if read == 0 {
                return Err(CloseReason::ClientLeft);
            }
            state.stats.input_bytes.add(read as u64);
            let used = self.batch(input).await?;
            self.pipeline.flush().await?;
            self.pipeline.deliver().await?;
            input.drain(..used);
            self.account(input)?;
            if input.len() <= PARTIAL_BYTES_MAX {
                return Ok(());
            }
        }
    }

    /// Counts the memory of a request that has not wholly arrived. Fails if all connections together
    /// exceed their budget.
    fn account(&mut self, input: &Vec<u8>) -> Result<(), CloseReason> {
        let Pipeline { state, client, .. } = &self.pipeline;
        let activity = &client.activity;
        activity.input_bytes.store(input.len(), Ordering::Relaxed);
        // A short start is kept without its buffer, and a small buffer is not worth counting.
        let small = input.len() <= PARTIAL_BYTES_MAX || input.capacity() <= BUFFER_BYTES;
        let bytes = if small { 0 } else { input.capacity() as u64 };
        let bytes_max = state.config.server.max_request_memory.0;
        if self.memory.resize(bytes, bytes_max) {
            return Ok(());
        }
        tracing::warn!(
            client = client.id,
            peer = %client.peer,
            bytes_max,
            "a connection is closed: the arriving requests of all connections exceed server.max_request_memory"
        );
        Err(CloseReason::MemoryBudget)
    }

    /// Reports a request of a web browser. It gets no reply.
    #[cold]
    fn refuse_http(&self) -> CloseReason {
        let Pipeline { state, client, .. } = &self.pipeline;
        state.stats.protocol_errors.add(1);
        if let Some(left_out) = state.http_requests.line() {
            tracing::warn!(
                client = client.id,
                peer = %client.peer,
                left_out,
                "a client sent HTTP and is disconnected; a web page may have had a browser send it"
            );
        }
        CloseReason::Http
    }

    /// Answers every request in `input` that has wholly arrived, and returns their length in bytes.
    async fn batch(&mut self, input: &[u8]) -> Result<usize, CloseReason> {
        let Pipeline { state, client, .. } = self.pipeline;
        let began = client.touch();
        let session = &mut self.pipeline.session;
        if session.is_outdated(state.users.generation()) && !session.look_up_user(&state.users) {
            return Err(CloseReason::UserRemoved);
        }
        self.pipeline.waited = Duration::ZERO;
        let mut counts = BatchCounts::default();
        let mut used = 0;
        let mut requests = 0;
        let reason = loop {
            let rest = &input[used..];
            let request_bytes = match self.scanner.scan(rest) {
                Ok(Scan::Complete { consumed }) => consumed,
                Ok(Scan::Incomplete { .. }) => break None,
                Err(error) => {
                    state.stats.protocol_errors.add(1);
                    self.pipeline.refuse(error);
                    break Some(CloseReason::ProtocolError);
                }
            };
            used += request_bytes;
            let arguments: Arguments<'_> = self.scanner.arguments(rest).collect();
            let Some(name) = arguments.first() else {
                // A blank line or an empty array, which Redis ignores too.
                continue;
            };
            requests += 1;
            if requests == 1 {
                client.activity.set_command(name);
            }
            let authenticated = self.pipeline.session.user().is_some();
            let found = table::find(name);
            let command = found.map(|found| found.command);
            // Other words are commands only after the first request.
            if (command.is_none() || self.unserved)
                && is_http(&self.scanner, &arguments, self.unserved)
            {
                break Some(self.refuse_http());
            }
            self.unserved = false;
            if let Some(found) = found {
                counts.add(found.number);
            }
            if state.monitors.any() {
                self.pipeline.show(command, &arguments);
            }
            let timed = may_be_slow(command, request_bytes).then(Instant::now);
            self.pipeline.begin_request(found.map(|found| found.number));
            let mut context = self.pipeline.context();
            let progress = match command {
                _ if subscribed::refuses(&mut context, command, name) => {
                    Progress::Done(AfterReply::KeepOpen)
                }
                _ if context.session.queued.is_some() => {
                    transaction::answer(&mut context, command, &arguments)
                }
                Some(CommandRef::Data(command)) => {
                    data_commands::start(&mut context, command, &arguments)
                }
                Some(CommandRef::Function(spec)) => {
                    match self.pipeline.run_function(spec, &arguments).await {
                        Ok(after) => Progress::Done(after),
                        Err(reason) => break Some(reason),
                    }
                }
                Some(CommandRef::Server(spec)) => {
                    Progress::Done(server_commands::run(&mut context, spec, &arguments))
                }
                None => Progress::Done(data_commands::unknown(&mut context, &arguments)),
            };
            let after = match progress {
                Progress::Done(after) => after,
                Progress::Waiting(pending) => match self.pipeline.finish(pending, name).await {
                    Ok(after) => after,
                    Err(reason) => break Some(reason),
                },
            };
            if let Some(error) = self.pipeline.error_reply() {
                let number = found.map(|found| found.number);
                state.command_stats.add_error(number, error);
            }
            if let Some(timed) = timed {
                self.pipeline.note_time(timed.elapsed(), &arguments);
            }
            drop(arguments);
            if after == AfterReply::Close {
                break Some(CloseReason::Requested);
            }
            if self.pipeline.session.user().is_some() != authenticated {
                self.scanner = scanner(state, &self.pipeline.session);
            }
            if self.pipeline.is_full() {
                self.pipeline.flush().await?;
            }
        };
        if !counts.is_empty() {
            let took = began.elapsed().saturating_sub(self.pipeline.waited);
            state.command_stats.add(&counts, took);
        }
        let activity = &client.activity;
        activity.requests.fetch_add(requests, Ordering::Relaxed);
        state.stats.requests.add(requests);
        match reason {
            None => Ok(used),
            Some(reason) => {
                self.pipeline.flush().await?;
                Err(reason)
            }
        }
    }
}

/// Requests of at least this many bytes are timed, whatever their command.
const TIMED_BYTES_MIN: usize = 16 * 1024;

/// Returns true if a request may take long, so that its time is worth two looks at the clock. Calls of
/// functions have a log of their own.
fn may_be_slow(command: Option<CommandRef>, request_bytes: usize) -> bool {
    match command {
        Some(CommandRef::Data(command)) => {
            let spec = command.spec();
            request_bytes >= TIMED_BYTES_MIN
                || (spec.flags & (ferrite_store::FAST | ferrite_store::BLOCKING) == 0
                    && !spec.name.eq_ignore_ascii_case("set"))
        }
        _ => false,
    }
}
