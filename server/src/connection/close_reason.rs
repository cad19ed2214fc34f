//! Reasons for closing a connection.

use std::io;

use ferrite_store::StoreError;

/// Reason why a connection was closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseReason {
    #[error("the client closed the connection")]
    ClientLeft,
    #[error("the client's user was removed")]
    UserRemoved,
    #[error("the server is draining")]
    ServerStopped,
    #[error("the client asked for it")]
    Requested,
    #[error("the client did not read its replies in time")]
    WriteTimeout,
    #[error("the client reads the messages of its channels more slowly than they come")]
    SlowListener,
    #[error("the client sent no request in time")]
    IdleTimeout,
    #[error("the rest of a request did not arrive in time")]
    StallTimeout,
    #[error("a request was not RESP or exceeded a limit")]
    ProtocolError,
    #[error("the client sent a request of HTTP")]
    Http,
    #[error("the arriving requests of all connections exceed server.max_request_memory")]
    MemoryBudget,
    #[error("a write could not be made durable")]
    NotDurable(#[source] StoreError),
    #[error("the engine closed the client's connection")]
    EngineLeft,
    #[error("the engine sent something that is no RESP")]
    EngineGarbage,
    #[error("the socket failed")]
    SocketError(#[source] io::Error),
}

impl From<io::Error> for CloseReason {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::ClientLeft,
            // Only writes have a time limit of their own.
            io::ErrorKind::TimedOut => Self::WriteTimeout,
            _ => Self::SocketError(error),
        }
    }
}
