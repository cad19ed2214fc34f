//! The functions of all servers in front of one engine, which are kept in the engine itself.
//!
//! | key | what it holds |
//! |---|---|
//! | `ferrite:{functions}` | a hash: each function's name, and its record as JSON |
//! | `ferrite:{functions}:version` | a number that each change raises |
//! | `ferrite:{functions}:source:DIGEST` | the source of that digest |
//!
//! Each change is announced on the channel `ferrite:{functions}`. The braces keep the keys on one node of
//! a cluster.

use std::io;

use redis::{Cmd, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::account::Account;
use crate::call::Upstream;
use crate::error::UpstreamError;
use crate::net::EngineStream;

const FUNCTIONS: &str = "ferrite:{functions}";
const VERSION: &str = "ferrite:{functions}:version";
const SOURCE: &str = "ferrite:{functions}:source:";

/// The functions in an engine, as one account may read and write them.
#[derive(Clone, Copy, Debug)]
pub struct SharedFunctions<'a> {
    upstream: &'a Upstream,
    account: &'a Account,
}

impl Upstream {
    /// Returns the functions in the engine, with the rights of `account`.
    #[must_use]
    pub const fn shared_functions<'a>(&'a self, account: &'a Account) -> SharedFunctions<'a> {
        SharedFunctions {
            upstream: self,
            account,
        }
    }
}

impl SharedFunctions<'_> {
    async fn send(&self, command: &Cmd) -> Result<Value, UpstreamError> {
        let line = self.upstream.line(self.account, 0)?;
        line.send(command).await.map_err(UpstreamError::from)
    }

    /// Returns a number that grows with each change; 0 before the first.
    pub async fn version(&self) -> Result<u64, UpstreamError> {
        let reply = self.send(redis::cmd("GET").arg(VERSION)).await?;
        let digits = bytes(reply).unwrap_or_default();
        let number = std::str::from_utf8(&digits)
            .ok()
            .and_then(|digits| digits.parse().ok());
        Ok(number.unwrap_or(0))
    }

    /// Returns the record of every function.
    pub async fn records(&self) -> Result<Vec<Vec<u8>>, UpstreamError> {
        match self.send(redis::cmd("HVALS").arg(FUNCTIONS)).await? {
            Value::Array(records) => Ok(records.into_iter().filter_map(bytes).collect()),
            _ => Ok(Vec::new()),
        }
    }

    /// Returns the source of this digest; `None` if the engine does not have it.
    pub async fn source(&self, digest: &str) -> Result<Option<Vec<u8>>, UpstreamError> {
        let key = format!("{SOURCE}{digest}");
        Ok(bytes(self.send(redis::cmd("GET").arg(key)).await?))
    }

    /// Stores a function, and tells all servers.
    pub async fn put(
        &self,
        name: &str,
        record: &[u8],
        digest: &str,
        source: &[u8],
    ) -> Result<(), UpstreamError> {
        // The source comes first, so that no server finds a record without one.
        let key = format!("{SOURCE}{digest}");
        self.send(redis::cmd("SET").arg(key).arg(source)).await?;
        self.send(redis::cmd("HSET").arg(FUNCTIONS).arg(name).arg(record))
            .await?;
        self.announce().await
    }

    /// Removes a function, and tells all servers.
    pub async fn remove(&self, name: &str) -> Result<(), UpstreamError> {
        self.send(redis::cmd("HDEL").arg(FUNCTIONS).arg(name))
            .await?;
        self.announce().await
    }

    async fn announce(&self) -> Result<(), UpstreamError> {
        let version = self.send(redis::cmd("INCR").arg(VERSION)).await?;
        let version = match version {
            Value::Int(version) => version,
            _ => 0,
        };
        // Where it is refused, the other servers ask for the version now and then.
        let announced = self
            .send(redis::cmd("PUBLISH").arg(FUNCTIONS).arg(version))
            .await;
        if let Err(error) = announced {
            tracing::debug!(%error, "a change of the functions was not announced");
        }
        Ok(())
    }

    /// Listens to changes.
    ///
    /// # Errors
    ///
    /// The engine cannot be reached.
    pub async fn listen(&self) -> io::Result<Changes> {
        let options = self.upstream.pool_options();
        let location = &options.location;
        let tls = options.tls.as_ref().filter(|_| location.tls);
        let time = options.connect_time_max;
        let mut stream = EngineStream::connect(&location.address, tls, time).await?;
        if let Some(words) = self.account.auth() {
            let mut auth = Cmd::new();
            words.into_iter().for_each(|word| {
                auth.arg(word);
            });
            stream.write_all(&auth.get_packed_command()).await?;
        }
        let subscribe = redis::cmd("SUBSCRIBE").arg(FUNCTIONS).get_packed_command();
        stream.write_all(&subscribe).await?;
        stream.flush().await?;
        Ok(Changes { stream })
    }
}

/// The announcements of changes.
#[derive(Debug)]
pub struct Changes {
    stream: EngineStream,
}

impl Changes {
    /// Waits for something on the channel; the confirmation of listening counts, too.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub async fn next(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}
