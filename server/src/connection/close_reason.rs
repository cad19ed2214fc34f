//! Why a connection ended.

use std::io;

use ferrite_store::StoreError;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
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
