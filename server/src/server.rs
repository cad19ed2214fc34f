//! Listens, accepts connections up to the limit, and closes them in order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrite_store::CloseError;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::commands::table;
use crate::config::{Config, Port};
use crate::connection;
use crate::net::accept_backoff::{SpareDescriptor, is_scarce, pause_after};
use crate::net::socket::PlainSocket;
use crate::net::tls::{self, TlsError};
use crate::process::open_files;
use crate::services::automation::{engine_outbox, outbox, schedules, triggers};
use crate::services::{active_expiry, disk_watch, engine_functions, hot_reload, metrics_http};
use crate::state::ServerState;

/// Reply to a connection for which there is no descriptor.
const NO_FILES: &[u8] =
    b"-ERR max number of clients reached: the server has no file descriptors left, try again later\r\n";

/// Time that the disk has to take the last writes, even if calls have used up the time to stop.
const CLOSE_TIME_MIN: Duration = Duration::from_secs(1);

/// Connections that the system queues until they are accepted.
const BACKLOG: u32 = 1024;

/// Reason why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is in use, or is not this machine's.
    #[error("cannot listen on {address}; is another server running there?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Other machines could reach the server, and no authentication is configured.
    #[error(
        "refusing to listen on {address} without authentication: set server.password or server.users, or bind to 127.0.0.1"
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// TLS cannot be served.
    #[error("cannot serve TLS")]
    Tls(#[from] TlsError),
}

/// The sockets that clients connect to.
pub struct Listeners {
    plain: Option<BoundListener>,
    tls: Option<(BoundListener, TlsAcceptor)>,
    metrics: Option<BoundListener>,
}

/// A socket that listens, and its address.
struct BoundListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listeners {
    /// Listens on the configured addresses. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// If an address is in use, if other machines can reach it and no authentication is configured,
    /// or if TLS cannot be served.
    pub fn bind(config: &Config) -> Result<Self, ListenError> {
        let server = &config.server;
        let closed = server.bind.is_loopback()
            || !server.password.reveal().is_empty()
            || !server.users.is_empty()
            // Clients then need a trusted certificate.
            || (server.tls_client_ca.is_some() && server.port == Port::Off);
        let listen = |port| match port {
            Port::Off => Ok(None),
            Port::Number(port) => {
                let address = SocketAddr::new(server.bind, port);
                if closed {
                    bind(address).map(Some)
                } else {
                    Err(ListenError::Open { address })
                }
            }
        };
        Ok(Self {
            plain: listen(server.port)?,
            tls: listen(server.tls_port)?.zip(tls::acceptor(config)?),
            metrics: server.metrics_address.map(bind).transpose()?,
        })
    }

    /// Returns the address of each kind of connection: `resp`, `tls`, `metrics`. A configured port 0
    /// is replaced by the port that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let Self {
            plain,
            tls,
            metrics,
        } = self;
        let tls = tls.as_ref().map(|(bound, _)| bound);
        [
            ("resp", plain.as_ref()),
            ("tls", tls),
            ("metrics", metrics.as_ref()),
        ]
        .into_iter()
        .filter_map(|(kind, bound)| Some((kind, bound?.address)))
        .collect()
    }
}

fn bind(address: SocketAddr) -> Result<BoundListener, ListenError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for old connections of the previous process.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        // Nobody could find a server that does not know its own address.
        let address = listener.local_addr()?;
        Ok(BoundListener { listener, address })
    };
    listen().map_err(|source| ListenError::Bind { address, source })
}

/// Serves until `shutdown` completes or a client sends `SHUTDOWN`, then closes every connection.
///
/// Running requests have `server.shutdown_timeout` to end; then they are aborted and have no effect.
/// The disk has what is left of that time to take all writes. Needs tokio's multi-threaded runtime,
/// because long calls move to threads of their own.
///
/// # Errors
///
/// If the disk did not take all writes.
pub async fn run(
    state: Arc<ServerState>,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> Result<(), CloseError> {
    let Listeners {
        plain,
        tls,
        metrics,
    } = listeners;
    let port = plain.as_ref().map_or(0, |bound| bound.address.port());
    state.live.set_tcp_port(port);
    let plain = plain.map(|bound| bound.listener);
    let tls = tls.map(|(bound, acceptor)| (bound.listener, acceptor));
    state.command_stats.start(table::names());
    let mut connections = JoinSet::new();
    // These tasks end with this function.
    let mut services = JoinSet::new();
    services.spawn(active_expiry::run(Arc::clone(&state)));
    services.spawn(disk_watch::run(Arc::clone(&state)));
    if state.engine.is_some() {
        services.spawn(engine_functions::run(Arc::clone(&state)));
        services.spawn(engine_outbox::run(Arc::clone(&state)));
    } else {
        services.spawn(schedules::run(Arc::clone(&state)));
        services.spawn(triggers::run(Arc::clone(&state)));
        services.spawn(outbox::run(Arc::clone(&state)));
    }
    if state.config.wasm.hot_reload {
        services.spawn(hot_reload::run(Arc::clone(&state)));
    }
    if let Some(bound) = metrics {
        services.spawn(metrics_http::run(Arc::clone(&state), bound.listener));
    }
    let mut shutdown = std::pin::pin!(shutdown);
    let mut spare = SpareDescriptor::new();
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = state.stopped() => break,
            accepted = accept(plain.as_ref()) => match accepted {
                Ok((stream, peer)) => start_connection(&state, stream, peer, None, &mut connections),
                Err(error) => not_accepted(&state, &error, plain.as_ref(), &mut spare, NO_FILES).await,
            },
            accepted = accept(tls.as_ref().map(|(listener, _)| listener)) => match accepted {
                Ok((stream, peer)) => {
                    let acceptor = tls.as_ref().map(|(_, acceptor)| acceptor.clone());
                    start_connection(&state, stream, peer, acceptor, &mut connections);
                }
                Err(error) => {
                    let listener = tls.as_ref().map(|(listener, _)| listener);
                    not_accepted(&state, &error, listener, &mut spare, b"").await;
                }
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!("a connection panicked, which is a bug; the others go on");
                }
            }
        }
    }
    drop((plain, tls));
    let deadline = Instant::now() + state.live.shutdown_timeout();
    drain(&state, connections, deadline).await;
    // Their references to the state are dropped with them, before the data is closed.
    services.shutdown().await;
    if let Some(engine) = &state.engine {
        engine.upstream.requests_to_send().release().await;
    }
    // A thread that still compiles refers to the store too, but its data must be on disk now.
    let left = deadline.saturating_duration_since(Instant::now());
    let closed = tokio::task::block_in_place(|| state.store.close(left.max(CLOSE_TIME_MIN)));
    if let Err(error) = &closed {
        tracing::error!(%error, "the data could not be written to the end");
    }
    closed
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Refuses the connections at `listener` with `reply` if there are no descriptors for them.
async fn not_accepted(
    state: &ServerState,
    error: &io::Error,
    listener: Option<&TcpListener>,
    spare: &mut SpareDescriptor,
    reply: &[u8],
) {
    let refused = match listener {
        Some(listener) if is_scarce(error) => spare.refuse(listener, reply),
        _ => 0,
    };
    state.stats.connections.add(refused as u64);
    state.stats.connections_rejected.add(refused as u64);
    if is_scarce(error)
        && let Some(left_out) = state.refused_connections.line()
    {
        tracing::warn!(%error, refused, left_out, "connections cannot be accepted; raise the limit of open files (`ulimit -n`)");
    }
    if refused == 0 {
        pause_after(error).await;
    }
}

fn start_connection(
    state: &Arc<ServerState>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    connections: &mut JoinSet<()>,
) {
    state.stats.connections.add(1);
    // Replies are written in one piece, so waiting to fill a packet would only delay them.
    let prepared = stream.set_nodelay(true).and_then(|()| stream.local_addr());
    let local = match prepared {
        Ok(local) => local,
        Err(error) => {
            tracing::debug!(%peer, %error, "a connection closed before it was served");
            return;
        }
    };
    let tcp = PlainSocket::new(stream);
    let handle = tcp.handle();
    let count_max = open_files::connections_max(state.live.max_connections());
    match state.clients.register(peer, local, handle, count_max) {
        Some(guard) => {
            connections.spawn(connection::serve(Arc::clone(state), guard, tcp, tls));
        }
        None => {
            state.stats.connections_rejected.add(1);
            if let Some(left_out) = state.refused_connections.line() {
                tracing::warn!(%peer, count_max, left_out, "a connection was refused because of server.max_connections");
            }
            tcp.refuse(b"-ERR max number of clients reached\r\n");
        }
    }
}

/// Waits for running requests until the shutdown timeout, then aborts the rest.
async fn drain(state: &ServerState, mut connections: JoinSet<()>, deadline: Instant) {
    tracing::info!(connections = connections.len(), "stopping");
    for client in state.clients.all() {
        client.drain();
    }
    while !connections.is_empty() {
        if timeout_at(deadline, connections.join_next()).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "some requests did not end within server.shutdown_timeout and are aborted"
            );
            break;
        }
    }
    state.background.wait(deadline).await;
    // Dropping a connection aborts its call, which then has no effect.
    state.long_calls.cut();
    connections.shutdown().await;
    state.background.shutdown().await;
}
