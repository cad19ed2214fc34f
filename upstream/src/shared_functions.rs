//! The functions of all servers in front of one engine, which are kept in the engine itself.
//!
//! | key | what it holds |
//! |---|---|
//! | `ferrite:{functions}` | a hash: each function's name, and its record as JSON. The field `.version` is a number that each change raises, and `.generation` a name that the hash got when it was made |
//! | `ferrite:{functions}:source:DIGEST` | the source of that digest |
//!
//! Each change is announced on the channel `ferrite:{functions}`. The braces keep the keys on one node of
//! a cluster.
//!
//! Everything that says what the functions are is in one key, so that one command reads all of it as it was
//! at one moment. A hash with another generation is no change of the functions: the keys were removed since,
//! and what is there now are only the functions that somebody stored again.

use std::io;
use std::str;

use redis::{Cmd, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::account::Account;
use crate::call::Upstream;
use crate::error::UpstreamError;
use crate::net::EngineStream;

const FUNCTIONS: &str = "ferrite:{functions}";
/// No function has a name with a full stop.
const VERSION: &str = ".version";
const GENERATION: &str = ".generation";
const SOURCE: &str = "ferrite:{functions}:source:";

/// Which functions an engine has: equal editions are of the same functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edition {
    /// Names the hash that holds the functions; another one is made when all keys were removed.
    pub generation: Vec<u8>,
    /// Grows with each change.
    pub version: u64,
}

/// All functions of an engine at one moment.
#[derive(Clone, Debug, Default)]
pub struct StoredFunctions {
    /// Which they are; `None` if nothing was ever stored, or all keys were removed.
    pub edition: Option<Edition>,
    /// The record of every function.
    pub records: Vec<Vec<u8>>,
}

/// A function to store.
#[derive(Clone, Copy, Debug)]
pub struct NewFunction<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its record as JSON.
    pub record: &'a [u8],
    /// The digest of its source.
    pub digest: &'a str,
    /// Its source.
    pub source: &'a [u8],
}

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
        let route = self.upstream.route(self.account, 0)?;
        // All keys of the functions are in one slot.
        let slot = self.upstream.topology().slot_of(FUNCTIONS.as_bytes());
        route.send(slot, command).await.map_err(UpstreamError::from)
    }

    /// Returns which functions the engine has; `None` if nothing was ever stored, or all keys were removed.
    pub async fn edition(&self) -> Result<Option<Edition>, UpstreamError> {
        let fields = redis::cmd("HMGET")
            .arg(FUNCTIONS)
            .arg(GENERATION)
            .arg(VERSION)
            .to_owned();
        let Value::Array(values) = self.send(&fields).await? else {
            return Ok(None);
        };
        let mut values = values.into_iter().map(bytes);
        let (generation, version) = (values.next().flatten(), values.next().flatten());
        Ok(edition(generation, version.as_deref()))
    }

    /// Returns all functions as they are at one moment.
    pub async fn read(&self) -> Result<StoredFunctions, UpstreamError> {
        let reply = self.send(redis::cmd("HGETALL").arg(FUNCTIONS)).await?;
        let Value::Array(values) = reply else {
            return Ok(StoredFunctions::default());
        };
        let (mut generation, mut version, mut records) = (None, None, Vec::new());
        let mut values = values.into_iter().filter_map(bytes);
        while let (Some(field), Some(value)) = (values.next(), values.next()) {
            match str::from_utf8(&field) {
                Ok(GENERATION) => generation = Some(value),
                Ok(VERSION) => version = Some(value),
                _ => records.push(value),
            }
        }
        Ok(StoredFunctions {
            edition: edition(generation, version.as_deref()),
            records,
        })
    }

    /// Returns the source of this digest; `None` if the engine does not have it.
    pub async fn source(&self, digest: &str) -> Result<Option<Vec<u8>>, UpstreamError> {
        let key = format!("{SOURCE}{digest}");
        Ok(bytes(self.send(redis::cmd("GET").arg(key)).await?))
    }

    /// Stores a function in place of what has its name, and tells all servers. Returns what the engine has
    /// since then.
    pub async fn put(&self, function: NewFunction<'_>) -> Result<Edition, UpstreamError> {
        self.put_source(function).await?;
        let generation = self.generation().await?;
        let NewFunction { name, record, .. } = function;
        self.send(redis::cmd("HSET").arg(FUNCTIONS).arg(name).arg(record))
            .await?;
        self.announce(generation).await
    }

    /// Stores functions again after all keys were removed, except those whose names others have taken since.
    /// Returns what the engine has since then.
    pub async fn restore(&self, functions: &[NewFunction<'_>]) -> Result<Edition, UpstreamError> {
        // First, so that what is removed again meanwhile leaves functions without a generation, or with
        // another one, which the next look finds.
        let generation = self.generation().await?;
        for function in functions {
            self.put_source(*function).await?;
            let NewFunction { name, record, .. } = *function;
            self.send(redis::cmd("HSETNX").arg(FUNCTIONS).arg(name).arg(record))
                .await?;
        }
        self.announce(generation).await
    }

    /// Removes a function, and tells all servers. Returns what the engine has since then.
    pub async fn remove(&self, name: &str) -> Result<Edition, UpstreamError> {
        let generation = self.generation().await?;
        self.send(redis::cmd("HDEL").arg(FUNCTIONS).arg(name))
            .await?;
        self.announce(generation).await
    }

    /// Stores a source. It comes before its record, so that no server finds a record without one.
    async fn put_source(&self, function: NewFunction<'_>) -> Result<(), UpstreamError> {
        let key = format!("{SOURCE}{}", function.digest);
        self.send(redis::cmd("SET").arg(key).arg(function.source))
            .await?;
        Ok(())
    }

    /// Returns the generation of the hash, which is made if it is not there.
    async fn generation(&self) -> Result<Vec<u8>, UpstreamError> {
        let new = self.upstream.new_token();
        let set = redis::cmd("HSETNX")
            .arg(FUNCTIONS)
            .arg(GENERATION)
            .arg(&new)
            .to_owned();
        if self.send(&set).await? == Value::Int(1) {
            return Ok(new.into_bytes());
        }
        let reply = self
            .send(redis::cmd("HGET").arg(FUNCTIONS).arg(GENERATION))
            .await?;
        // Removed at this moment; nobody else has this name, so the next look finds that out.
        Ok(bytes(reply).unwrap_or_else(|| new.into_bytes()))
    }

    async fn announce(&self, generation: Vec<u8>) -> Result<Edition, UpstreamError> {
        let raise = redis::cmd("HINCRBY")
            .arg(FUNCTIONS)
            .arg(VERSION)
            .arg(1)
            .to_owned();
        let version = match self.send(&raise).await? {
            Value::Int(version) => u64::try_from(version).unwrap_or(0),
            _ => 0,
        };
        // Where it is refused, the other servers ask for the version now and then.
        let announced = self
            .send(redis::cmd("PUBLISH").arg(FUNCTIONS).arg(version))
            .await;
        if let Err(error) = announced {
            tracing::debug!(%error, "a change of the functions was not announced");
        }
        Ok(Edition {
            generation,
            version,
        })
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
        let topology = self.upstream.topology();
        let slot = topology.slot_of(FUNCTIONS.as_bytes());
        let server = topology.server(slot, self.account).await;
        let address = server.map_err(io::Error::other)?;
        let mut stream = EngineStream::connect(&address, tls, time)
            .await
            .inspect_err(|_| topology.suspect())?;
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

fn edition(generation: Option<Vec<u8>>, version: Option<&[u8]>) -> Option<Edition> {
    let version = version.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    Some(Edition {
        generation: generation?,
        version: version.unwrap_or(0),
    })
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}
