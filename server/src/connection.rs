//! One connection: reads requests, executes them in order, and sends one write a batch of replies.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferrite_runtime::resp::{Encoder, Protocol, RequestBounds, RequestScanner, Scan};
use ferrite_store::StoreError;
use smallvec::SmallVec;
use tokio_rustls::TlsAcceptor;

use crate::buffers::{self, BUFFER_BYTES};
use crate::clients::{Client, Entered};
use crate::commands::{Flow, Scope};
use crate::dispatch::{self, Step};
use crate::host::{Drawn, Host};
use crate::session::Session;
use crate::socket::{Socket, Wire};
use crate::unsettled::Unsettled;
use crate::within::{TimedOut, within};

/// Replies are sent once there are so many bytes of them, even if more requests are waiting.
const REPLY_BATCH_BYTES: usize = 64 * 1024;

/// A request that has begun with no more than this is waited for without a buffer.
const BEGUN_BYTES_MAX: usize = BUFFER_BYTES / 4;

/// Arguments that fit without an allocation; most requests have fewer.
pub(crate) const INLINE_ARGUMENTS: usize = 16;

/// A request's words, as slices of what was read.
pub(crate) type Arguments<'a> = SmallVec<[&'a [u8]; INLINE_ARGUMENTS]>;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client went away")]
    Gone,
    #[error("the server stops")]
    Cut,
    #[error("the client asked for it")]
    Asked,
    #[error("the client took no replies")]
    Slow,
    #[error("the client was idle")]
    Idle,
    #[error("a request began and did not go on")]
    Stalled,
    #[error("a request was not RESP, or past a bound")]
    Protocol,
    #[error("requests of all connections together take too much memory")]
    Memory,
    #[error("a write could not be made durable")]
    Unsettled(#[source] StoreError),
    #[error("the socket failed")]
    Socket(#[source] io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Gone,
            // Only writes have a time limit of their own.
            io::ErrorKind::TimedOut => Self::Slow,
            _ => Self::Socket(error),
        }
    }
}

/// Serves one client until it is done.
pub(crate) async fn serve(host: Arc<Host>, entered: Entered, wire: Wire, tls: Option<TlsAcceptor>) {
    let client = Arc::clone(entered.client());
    let session = Session::new(host.users.unnamed());
    client.relabel(|labels| labels.user = session.user_name().to_owned());
    tracing::debug!(client = client.id, peer = %client.peer, "connected");
    let patience = host.config.server.stall_timeout.0;
    let socket = match Socket::open(wire, tls, patience).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(client = client.id, peer = %client.peer, %error, "no TLS was agreed on");
            return;
        }
    };
    let mut connection = Connection {
        host: &host,
        entered: &entered,
        socket,
        scanner: scanner(&host, &session),
        session,
        reply: Encoder::new(Protocol::Resp2),
        aside: Encoder::new(Protocol::Resp2),
        unsettled: Unsettled::default(),
        drawn: host.request_memory.draw(),
    };
    let end = connection.run().await;
    if matches!(end, End::Slow | End::Idle | End::Stalled) {
        host.stats.connections_timed_out.add(1);
    }
    tracing::debug!(client = client.id, peer = %client.peer, %end, "disconnected");
}

struct Connection<'a> {
    host: &'a Arc<Host>,
    entered: &'a Entered,
    socket: Socket,
    scanner: RequestScanner,
    session: Session,
    reply: Encoder,
    /// Where a request that may have to wait writes, so that what was answered before it can be
    /// sent meanwhile.
    aside: Encoder,
    unsettled: Unsettled,
    drawn: Drawn<'a>,
}

/// Bounds for a client that has not said who it is: enough to say it.
const UNKNOWN_CLIENT_BOUNDS: RequestBounds = RequestBounds {
    bulk_bytes_max: 16 * 1024,
    arguments_max: 10,
    inline_bytes_max: 16 * 1024,
    request_bytes_max: 32 * 1024,
};

fn scanner(host: &Host, session: &Session) -> RequestScanner {
    let server = &host.config.server;
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
    async fn run(&mut self) -> End {
        let mut begun: Box<[u8]> = Box::default();
        loop {
            let server = &self.host.config.server;
            let (limit, end) = if begun.is_empty() {
                (server.idle_timeout.0, End::Idle)
            } else {
                (server.stall_timeout.0, End::Stalled)
            };
            match within(limit, self.socket.readable()).await {
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
    async fn burst(&mut self, begun: Box<[u8]>) -> Result<Box<[u8]>, End> {
        let protocol = self.reply.protocol();
        self.reply = Encoder::with_buffer(protocol, buffers::lend());
        let mut input = buffers::lend();
        input.extend_from_slice(&begun);
        let served = self.serve(&mut input).await;
        let rest = input.as_slice().into();
        buffers::give_back(input);
        buffers::give_back(self.reply.take());
        buffers::give_back(self.aside.take());
        served.map(|()| rest)
    }

    async fn serve(&mut self, input: &mut Vec<u8>) -> Result<(), End> {
        loop {
            // Room grows with what has arrived, never with what a header promises.
            if input.capacity() - input.len() < BUFFER_BYTES / 2 {
                input.reserve(input.len().max(BUFFER_BYTES));
            }
            let read = match self.socket.read_now(input).await {
                Some(read) => read?,
                // Waiting to read promises nothing: the first wait of a connection always ends.
                None if input.len() <= BEGUN_BYTES_MAX => return Ok(()),
                None => {
                    let stall = self.host.config.server.stall_timeout.0;
                    match within(stall, self.socket.read(input)).await {
                        Ok(read) => read?,
                        Err(TimedOut) => return Err(End::Stalled),
                    }
                }
            };
            if read == 0 {
                return Err(End::Gone);
            }
            self.host.stats.input_bytes.add(read as u64);
            let used = self.batch(input).await?;
            self.flush().await?;
            input.drain(..used);
            self.account(input)?;
            if input.len() <= BEGUN_BYTES_MAX {
                return Ok(());
            }
        }
    }

    /// Keeps the books on memory that a request takes while it arrives.
    fn account(&mut self, input: &Vec<u8>) -> Result<(), End> {
        self.entered
            .client()
            .activity
            .input_bytes
            .store(input.len(), Ordering::Relaxed);
        // A short beginning is kept without its buffer, and a small buffer is not worth counting.
        let small = input.len() <= BEGUN_BYTES_MAX || input.capacity() <= BUFFER_BYTES;
        let bytes = if small { 0 } else { input.capacity() as u64 };
        if self
            .drawn
            .hold(bytes, self.host.config.server.max_request_memory.0)
        {
            Ok(())
        } else {
            tracing::warn!(
                client = self.entered.client().id,
                peer = %self.entered.client().peer,
                bytes_max = self.host.config.server.max_request_memory.0,
                "a connection is closed: requests that are arriving take too much memory together"
            );
            Err(End::Memory)
        }
    }

    /// Executes every request that has wholly arrived; how many bytes they were.
    async fn batch(&mut self, input: &[u8]) -> Result<usize, End> {
        let client = self.entered.client();
        client.touch();
        let mut used = 0;
        let mut requests = 0;
        let end = loop {
            let rest = &input[used..];
            match self.scanner.scan(rest) {
                Ok(Scan::Complete { consumed }) => used += consumed,
                Ok(Scan::Incomplete { .. }) => break None,
                Err(error) => {
                    self.host.stats.protocol_errors.add(1);
                    self.reply.error(format!("ERR {error}"));
                    break Some(End::Protocol);
                }
            }
            requests += 1;
            if let Err(end) = self.execute(rest, requests == 1).await {
                break Some(end);
            }
            if self.reply.len() >= REPLY_BATCH_BYTES {
                self.flush().await?;
            }
        };
        client
            .activity
            .requests
            .fetch_add(requests, Ordering::Relaxed);
        self.host.stats.requests.add(requests);
        match end {
            None => Ok(used),
            Some(end) => {
                self.flush().await?;
                Err(end)
            }
        }
    }

    /// Executes the request that the scanner has found at the start of `input`.
    async fn execute(&mut self, input: &[u8], first: bool) -> Result<(), End> {
        let client = &**self.entered.client();
        let arguments: Arguments<'_> = self.scanner.arguments(input).collect();
        let Some(name) = arguments.first() else {
            // A blank line, or an array of nothing, which Redis lets pass without a word.
            return Ok(());
        };
        if first {
            client.activity.set_command(name);
        }
        let known = self.session.user().is_some();
        let mut scope = Scope {
            host: self.host,
            client,
            session: &mut self.session,
            reply: &mut self.reply,
        };
        let flow = match dispatch::start(&mut scope, &arguments) {
            Step::Done(flow) => flow,
            Step::Later(later) => {
                self.aside.set_protocol(self.reply.protocol());
                self.unsettled.gather(&mut self.session);
                let mut scope = Scope {
                    host: self.host,
                    client,
                    session: &mut self.session,
                    reply: &mut self.aside,
                };
                let meanwhile = async {
                    client.activity.set_command(name);
                    let (socket, reply) = (&mut self.socket, &mut self.reply);
                    if let Err(end) = flush(self.host, &mut self.unsettled, socket, reply).await {
                        return end;
                    }
                    gone(&self.socket, client).await;
                    End::Gone
                };
                let work = async {
                    tokio::select! {
                        // First the request: one that ends at once never looks at the socket.
                        biased;
                        flow = later.run(&mut scope) => Ok(flow),
                        end = meanwhile => Err(end),
                    }
                };
                let flow = self
                    .host
                    .long_calls
                    .run(work)
                    .await
                    .unwrap_or(Err(End::Cut))?;
                if self.reply.is_empty() {
                    std::mem::swap(&mut self.reply, &mut self.aside);
                } else {
                    self.reply.raw(self.aside.bytes());
                    self.aside.clear();
                }
                flow
            }
        };
        if flow == Flow::Close {
            return Err(End::Asked);
        }
        drop(arguments);
        if self.session.user().is_some() != known {
            self.scanner = scanner(self.host, &self.session);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), End> {
        self.unsettled.gather(&mut self.session);
        flush(
            self.host,
            &mut self.unsettled,
            &mut self.socket,
            &mut self.reply,
        )
        .await
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
