//! A connection of a client to an engine, with functions in between.
//!
//! Each client has a connection of its own to the engine, on which its requests and the replies pass
//! byte for byte. So transactions, blocking commands, channels and tracking work as they do without this
//! server. Only commands on functions are answered here, once the engine has answered everything before.

mod cluster;
mod engine;
mod expected;
mod frames;
mod functions;
mod keys;
mod nodes;
mod own_requests;
mod replies;
mod requests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ferrite_protocol::resp::{Encoder, Protocol, RequestScanner};
use ferrite_upstream::Account;

use crate::clients::registry::Client;
use crate::clients::session::ClientSession;
use crate::connection::close_reason::CloseReason;
use crate::net::engine::Engine;
use crate::net::memory_budget::MemoryReservation;
use crate::net::socket::Socket;
use crate::scheduling::futures::{TimedOut, with_timeout};
use crate::state::ServerState;
use cluster::{ClusterState, Redirected};
use expected::Expected;
use nodes::Nodes;
use own_requests::PING;

/// Bytes of input that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// Serves one client until its connection closes.
pub(crate) async fn serve(
    state: &Arc<ServerState>,
    engine: &Engine,
    client: &Client,
    socket: Socket,
    session: ClientSession,
    mut scanner: RequestScanner,
) -> CloseReason {
    let mut relay = Relay {
        state,
        client,
        settings: engine,
        socket,
        session,
        memory: state.request_memory.reserve(),
        nodes: Nodes::default(),
        head: Vec::new(),
        expected: VecDeque::new(),
        cluster: ClusterState::default(),
        input: Vec::new(),
        used: 0,
        output: Vec::new(),
        account: Account::default(),
        database: 0,
        protocol: Protocol::Resp2,
        in_multi: false,
        settles: false,
        channels: 0,
        listens: false,
        streams: false,
        silence: Silence::None,
        has_caught_up: false,
        admission: Admission::Unknown,
        login_error: None,
    };
    match relay.run(&mut scanner).await {
        Ok(never) => match never {},
        Err(reason) => reason,
    }
}

/// Replies that the client has asked not to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    None,
    /// The next one.
    Next,
    /// All.
    All,
}

/// The knowledge of the client's right to use the engine at all.
#[derive(Debug)]
enum Admission {
    Unknown,
    Asked,
    Admitted,
    /// The engine's error.
    Refused(Vec<u8>),
}

struct Relay<'a> {
    state: &'a Arc<ServerState>,
    client: &'a Client,
    settings: &'a Engine,
    socket: Socket,
    session: ClientSession,
    memory: MemoryReservation<'a>,
    /// The connections to the engine; none until it is needed.
    nodes: Nodes,
    /// The start of the reply that is being read.
    head: Vec<u8>,
    /// The replies that the active connection owes.
    expected: VecDeque<Owed>,
    /// The state that only a cluster needs.
    cluster: ClusterState,
    input: Vec<u8>,
    /// Bytes of the input that were taken up.
    used: usize,
    output: Vec<u8>,
    account: Account,
    database: u32,
    protocol: Protocol,
    in_multi: bool,
    /// True if the last request decides how the next one is read.
    settles: bool,
    /// Channels that the client listens to, as the engine counted them last.
    channels: u64,
    /// True in RESP2 while the client listens to channels.
    listens: bool,
    /// True once the engine sends what answers no request.
    streams: bool,
    silence: Silence,
    /// True if the engine has answered all earlier requests of a client that wants no replies.
    has_caught_up: bool,
    admission: Admission,
    /// The error that the client gets in place of `NOAUTH`, if the engine refuses the credentials that this
    /// server gives it.
    login_error: Option<Vec<u8>>,
}

/// A reply that the engine owes.
#[derive(Debug)]
struct Owed {
    expected: Expected,
    /// Its fate if the reply names another node.
    redirected: Redirected,
}

/// The next thing to do about the input.
enum Step {
    /// More requests may be there.
    More,
    /// Wait for replies of the engine.
    Replies,
    /// Wait for input.
    Input,
    /// End the connection once the replies are sent.
    End(CloseReason),
}

type Never = std::convert::Infallible;

impl Relay<'_> {
    async fn run(&mut self, scanner: &mut RequestScanner) -> Result<Never, CloseReason> {
        let mut ends = None;
        loop {
            self.follow().await;
            let mut wants_input = true;
            while ends.is_none() {
                match self.step(scanner).await? {
                    Step::More => {}
                    Step::Replies => {
                        wants_input = false;
                        break;
                    }
                    Step::Input => break,
                    Step::End(reason) => ends = Some(reason),
                }
            }
            self.flush().await?;
            if ends.is_some() && !self.is_owed() {
                return Err(ends.take().unwrap_or(CloseReason::Requested));
            }
            if let Err(reason) = self.wait(wants_input && ends.is_none()).await {
                // Replies that came before still reach a client that is there.
                self.flush().await?;
                return Err(reason);
            }
        }
    }

    async fn flush(&mut self) -> Result<(), CloseReason> {
        if self.output.is_empty() {
            return Ok(());
        }
        let timeout = self.state.live.write_timeout();
        self.socket.write(&self.output, timeout).await?;
        self.state.stats.output_bytes.add(self.output.len() as u64);
        self.output.clear();
        self.output.shrink_to(READ_BYTES);
        Ok(())
    }

    /// Waits for input or for the engine, whichever comes first.
    async fn wait(&mut self, wants_input: bool) -> Result<(), CloseReason> {
        let live = &self.state.live;
        let idle = !self.is_owed() && !self.listens && !self.streams;
        let limit = match (idle, self.input.len() == self.used) {
            (true, true) => live.idle_timeout(),
            (_, false) if wants_input => live.stall_timeout(),
            _ => Duration::ZERO,
        };
        let Self {
            socket,
            nodes,
            input,
            used,
            client,
            ..
        } = self;
        let from_engine = nodes.exchange();
        input.drain(..std::mem::take(used));
        if input.is_empty() {
            input.shrink_to(READ_BYTES);
        }
        input.reserve(READ_BYTES);
        let from_client = async {
            if wants_input {
                return socket.read(input).await.map(Some);
            }
            socket.closed().await;
            if client.is_draining() {
                std::future::pending::<()>().await;
            }
            Ok(None)
        };
        let both = async {
            tokio::select! {
                exchanged = from_engine => Ok(exchanged),
                read = from_client => Err(read),
            }
        };
        let came = match with_timeout(limit, both).await {
            Ok(came) => came,
            Err(TimedOut) if self.input.is_empty() => return Err(CloseReason::IdleTimeout),
            Err(TimedOut) => return Err(CloseReason::StallTimeout),
        };
        match came {
            Ok((node, Ok(()))) => self.receive(node),
            Ok((node, Err(error))) => {
                tracing::debug!(client = self.client.id, %error, "the engine closed a connection");
                self.node_left(node)
            }
            Err(Ok(None | Some(0))) => {
                if self.client.is_draining() && self.is_owed() {
                    return self.drain().await;
                }
                Err(CloseReason::ClientLeft)
            }
            Err(Ok(Some(read))) => {
                self.state.stats.input_bytes.add(read as u64);
                self.client.touch();
                self.account_memory()
            }
            Err(Err(error)) => Err(error.into()),
        }
    }

    /// Passes on the replies that the engine still owes, when the server stops.
    async fn drain(&mut self) -> Result<(), CloseReason> {
        while self.is_owed() && !self.nodes.is_empty() {
            let (node, exchanged) = self.nodes.exchange().await;
            match exchanged {
                Ok(()) => self.receive(node)?,
                Err(_) => self.node_left(node)?,
            }
            self.follow().await;
            self.flush().await?;
        }
        Err(CloseReason::ServerStopped)
    }

    /// Counts the memory of a request that has not wholly arrived.
    fn account_memory(&mut self) -> Result<(), CloseReason> {
        let activity = &self.client.activity;
        activity
            .input_bytes
            .store(self.input.len(), Ordering::Relaxed);
        let bytes = match self.input.capacity() {
            small if small <= 4 * READ_BYTES => 0,
            large => large as u64,
        };
        let bytes_max = self.state.config.server.max_request_memory.0;
        match self.memory.resize(bytes, bytes_max) {
            true => Ok(()),
            false => Err(CloseReason::MemoryBudget),
        }
    }

    /// Asks the engine whether the client may use it at all.
    fn ask_admission(&mut self) {
        self.send_own(PING, Expected::Admission);
        self.admission = Admission::Asked;
    }

    /// Sends a request of this server's own.
    fn send_own(&mut self, request: &[u8], expected: Expected) {
        if let Some(node) = self.nodes.active_mut() {
            node.connection.push(request);
            self.owe(expected);
        }
    }

    fn owe(&mut self, expected: Expected) {
        self.expected.push_back(Owed {
            expected,
            redirected: Redirected::PassOn,
        });
    }

    /// Returns true if replies to earlier requests are still to come.
    fn is_owed(&self) -> bool {
        !self.expected.is_empty() || self.cluster.is_redirecting()
    }

    fn reply_error(&mut self, error: &str) {
        let mut reply = Encoder::new(self.protocol);
        reply.error(error);
        self.output.extend_from_slice(reply.bytes());
    }
}
