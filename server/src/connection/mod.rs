//! One connection: reads requests, executes them in order, and sends one write a batch of replies.

pub(crate) mod close_reason;
pub(crate) mod durability;
pub(crate) mod pipeline;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferrite_protocol::resp::{RequestBounds, RequestScanner, Scan};
use smallvec::SmallVec;
use tokio_rustls::TlsAcceptor;

use crate::clients::registry::ClientGuard;
use crate::clients::session::ClientSession;
use crate::connection::close_reason::CloseReason;
use crate::connection::pipeline::Pipeline;
use crate::dispatch::progress::Progress;
use crate::net::buffers::{self, BUFFER_BYTES};
use crate::net::memory_budget::MemoryReservation;
use crate::net::socket::{PlainSocket, Socket};
use crate::request::AfterReply;
use crate::scheduling::futures::{TimedOut, with_timeout};
use crate::state::ServerState;

/// A request that has begun with no more than this is waited for without a buffer.
const BEGUN_BYTES_MAX: usize = BUFFER_BYTES / 4;

/// A request's words, as slices of what was read. Most requests have few enough to fit without an
/// allocation.
type Arguments<'a> = SmallVec<[&'a [u8]; 16]>;

/// Serves one client until it is done.
pub(crate) async fn serve(
    state: Arc<ServerState>,
    entered: ClientGuard,
    tcp: PlainSocket,
    tls: Option<TlsAcceptor>,
) {
    let client = Arc::clone(entered.client());
    let session = ClientSession::new(state.users.unnamed());
    client.update_labels(|labels| labels.user = session.user_name().to_owned());
    tracing::debug!(client = client.id, peer = %client.peer, "connected");
    let timeout = state.config.server.stall_timeout.0;
    let socket = match Socket::open(tcp, tls, timeout).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(client = client.id, peer = %client.peer, %error, "no TLS was agreed on");
            return;
        }
    };
    let mut connection = Connection {
        scanner: scanner(&state, &session),
        pipeline: Pipeline::new(&state, &client, socket, session),
        memory: state.request_memory.reserve(),
    };
    let end = connection.run().await;
    if matches!(
        end,
        CloseReason::WriteTimeout | CloseReason::IdleTimeout | CloseReason::StallTimeout
    ) {
        state.stats.connections_timed_out.add(1);
    }
    tracing::debug!(client = client.id, peer = %client.peer, %end, "disconnected");
}

struct Connection<'a> {
    scanner: RequestScanner,
    pipeline: Pipeline<'a>,
    memory: MemoryReservation<'a>,
}

/// Bounds for a client that has not said who it is: enough to say it.
const UNKNOWN_CLIENT_BOUNDS: RequestBounds = RequestBounds {
    bulk_bytes_max: 16 * 1024,
    arguments_max: 10,
    inline_bytes_max: 16 * 1024,
    request_bytes_max: 32 * 1024,
};

fn scanner(state: &ServerState, session: &ClientSession) -> RequestScanner {
    let server = &state.config.server;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    RequestScanner::new(match session.user() {
        None => UNKNOWN_CLIENT_BOUNDS,
        Some(_) => RequestBounds {
            bulk_bytes_max: size(server.max_value.0),
            arguments_max: server.max_arguments,
            request_bytes_max: size(server.max_request.0),
            ..RequestBounds::default()
        },
    })
}

impl Connection<'_> {
    /// Waits with next to nothing in hand: no buffers, and none of the state that requests need
    /// while they run, which is in a box only while something is there to do.
    async fn run(&mut self) -> CloseReason {
        let mut begun: Box<[u8]> = Box::default();
        loop {
            let server = &self.pipeline.state.config.server;
            let (limit, end) = if begun.is_empty() {
                (server.idle_timeout.0, CloseReason::IdleTimeout)
            } else {
                (server.stall_timeout.0, CloseReason::StallTimeout)
            };
            match with_timeout(limit, self.pipeline.socket.readable()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(TimedOut) => return end,
            }
            match Box::pin(self.burst(std::mem::take(&mut begun))).await {
                Ok(rest) => begun = rest,
                Err(end) => return end,
            }
        }
    }

    /// Reads and serves until nothing is left over, or only the short beginning of a request.
    async fn burst(&mut self, begun: Box<[u8]>) -> Result<Box<[u8]>, CloseReason> {
        self.pipeline.take_buffers();
        let mut input = buffers::take();
        input.extend_from_slice(&begun);
        let served = self.serve(&mut input).await;
        let rest = input.as_slice().into();
        buffers::recycle(input);
        self.pipeline.recycle_buffers();
        served.map(|()| rest)
    }

    async fn serve(&mut self, input: &mut Vec<u8>) -> Result<(), CloseReason> {
        let state = self.pipeline.state;
        loop {
            // Room grows with what has arrived, never with what a header promises.
            if input.capacity() - input.len() < BUFFER_BYTES / 2 {
                input.reserve(input.len().max(BUFFER_BYTES));
            }
            let socket = &mut self.pipeline.socket;
            let read = match socket.read_now(input).await {
                Some(read) => read?,
                // Waiting to read promises nothing: the first wait of a connection always ends.
                None if input.len() <= BEGUN_BYTES_MAX => return Ok(()),
                None => {
                    match with_timeout(state.config.server.stall_timeout.0, socket.read(input))
                        .await
                    {
                        Ok(read) => read?,
                        Err(TimedOut) => return Err(CloseReason::StallTimeout),
                    }
                }
            };
            if read == 0 {
                return Err(CloseReason::ClientLeft);
            }
            state.stats.input_bytes.add(read as u64);
            let used = self.batch(input).await?;
            self.pipeline.flush().await?;
            input.drain(..used);
            self.account(input)?;
            if input.len() <= BEGUN_BYTES_MAX {
                return Ok(());
            }
        }
    }

    /// Keeps the books on memory that a request takes while it arrives.
    fn account(&mut self, input: &Vec<u8>) -> Result<(), CloseReason> {
        let Pipeline { state, client, .. } = &self.pipeline;
        let activity = &client.activity;
        activity.input_bytes.store(input.len(), Ordering::Relaxed);
        // A short beginning is kept without its buffer, and a small buffer is not worth counting.
        let small = input.len() <= BEGUN_BYTES_MAX || input.capacity() <= BUFFER_BYTES;
        let bytes = if small { 0 } else { input.capacity() as u64 };
        let bytes_max = state.config.server.max_request_memory.0;
        if self.memory.resize(bytes, bytes_max) {
            return Ok(());
        }
        tracing::warn!(
            client = client.id,
            peer = %client.peer,
            bytes_max,
            "a connection is closed: requests that are arriving take too much memory together"
        );
        Err(CloseReason::MemoryBudget)
    }

    /// Executes every request that has wholly arrived; how many bytes they were.
    async fn batch(&mut self, input: &[u8]) -> Result<usize, CloseReason> {
        let Pipeline { state, client, .. } = self.pipeline;
        client.touch();
        let mut used = 0;
        let mut requests = 0;
        let end = loop {
            let rest = &input[used..];
            match self.scanner.scan(rest) {
                Ok(Scan::Complete { consumed }) => used += consumed,
                Ok(Scan::Incomplete { .. }) => break None,
                Err(error) => {
                    state.stats.protocol_errors.add(1);
                    self.pipeline.refuse(error);
                    break Some(CloseReason::ProtocolError);
                }
            }
            let arguments: Arguments<'_> = self.scanner.arguments(rest).collect();
            let Some(name) = arguments.first() else {
                // A blank line, or an array of nothing, which Redis lets pass without a word.
                continue;
            };
            requests += 1;
            if requests == 1 {
                client.activity.set_command(name);
            }
            let known = self.pipeline.session.user().is_some();
            let flow = match self.pipeline.start(&arguments) {
                Progress::Done(flow) => flow,
                Progress::Waiting(pending) => match self.pipeline.finish(pending, name).await {
                    Ok(flow) => flow,
                    Err(end) => break Some(end),
                },
            };
            drop(arguments);
            if flow == AfterReply::Close {
                break Some(CloseReason::Requested);
            }
            if self.pipeline.session.user().is_some() != known {
                self.scanner = scanner(state, &self.pipeline.session);
            }
            if self.pipeline.is_full() {
                self.pipeline.flush().await?;
            }
        };
        let activity = &client.activity;
        activity.requests.fetch_add(requests, Ordering::Relaxed);
        state.stats.requests.add(requests);
        match end {
            None => Ok(used),
            Some(end) => {
                self.pipeline.flush().await?;
                Err(end)
            }
        }
    }
}
