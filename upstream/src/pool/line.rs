//! One connection to the engine, opened when it is needed and again after it broke.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, Value};

use crate::account::Account;
use crate::address::{Address, Deployment};
use crate::error::UpstreamError;
use crate::net::connection::{self, Change, OnChange, is_reply, text_of};
use crate::topology::Topology;

/// Wait after a failed attempt to connect, which doubles with each further one.
const BACK_OFF_MIN: Duration = Duration::from_millis(20);
/// Longest such wait.
const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// One connection to the engine, shared by many calls.
pub(crate) struct Line {
    topology: Arc<Topology>,
    /// The server; `None` for whichever the Sentinels call the primary when the connection is opened.
    address: Option<Address>,
    account: Account,
    database: u32,
    /// Is told of changes of the keys that are read here.
    on_change: Option<OnChange>,
    open: Mutex<Open>,
    /// Held while the connection is opened.
    opening: tokio::sync::Mutex<BackOff>,
}

#[derive(Default)]
struct Open {
    connection: Option<MultiplexedConnection>,
    /// Counts the connections, so that only the one that broke is closed.
    number: u64,
}

/// Failed attempts to connect.
#[derive(Default)]
struct BackOff {
    failures: u32,
    until: Option<Instant>,
    error: Option<UpstreamError>,
}

/// Reason why a command got no reply.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was not sent.
    NotSent(UpstreamError),
    /// It was sent, and may have run.
    Unanswered(UpstreamError),
    /// The engine's error reply.
    Refused(Box<str>),
}

impl From<Failure> for UpstreamError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent(error) | Failure::Unanswered(error) => error,
            Failure::Refused(text) => Self::Refused(text),
        }
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Line({}, {:?})", self.place(), self.account)
    }
}

impl Line {
    pub(crate) fn new(
        topology: &Arc<Topology>,
        address: Option<Address>,
        account: &Account,
        database: u32,
    ) -> Self {
        Self {
            topology: Arc::clone(topology),
            address,
            account: account.clone(),
            database,
            on_change: None,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// The same, on whose connections the engine tells of changes of the keys that were read there.
    pub(crate) fn with_changes(self, on_change: OnChange) -> Self {
        Self {
            on_change: Some(on_change),
            ..self
        }
    }

    /// Returns true while a connection is open, as far as it is known.
    pub(crate) fn is_open(&self) -> bool {
        self.open.lock().connection.is_some()
    }

    /// Opens the connection, unless it is open.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or refuses what the connection is for.
    pub(crate) async fn make_open(&self) -> Result<(), UpstreamError> {
        self.connection().await.map(drop)
    }

    /// Returns the server's address, for messages.
    pub(crate) fn place(&self) -> String {
        let location = &self.topology.options().location;
        match (&self.address, &location.deployment) {
            (Some(address), _) => address.to_string(),
            (None, Deployment::Sentinel { primary }) => {
                format!("{primary} of the Sentinels {}", location.places())
            }
            (None, _) => location.places(),
        }
    }

    /// Sends one command and returns its reply, which is no error.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, Failure> {
        let (mut connection, number) = self.connection().await.map_err(Failure::NotSent)?;
        match connection.send_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(self.refused(&error.into(), number)),
            Ok(value) => Ok(value),
            Err(error) if is_reply(&error) => Err(self.refused(&error, number)),
            Err(error) => {
                self.close(number);
                Err(Failure::Unanswered(self.broken(&error)))
            }
        }
    }

    /// Sends one command to a node to which its slot is moving, and returns its reply, which is no error.
    pub(crate) async fn send_asking(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command.clone());
        let (values, number) = self.send_all(&both, None).await?;
        match values.into_iter().next_back() {
            Some(Value::ServerError(error)) => Err(self.refused(&error.into(), number)),
            Some(value) => Ok(value),
            None => Ok(Value::Nil),
        }
    }

    fn refused(&self, error: &RedisError, number: u64) -> Failure {
        let text = text_of(error);
        // It is the primary no more, so the next connection is another server's.
        if self.address.is_none() && text.starts_with("READONLY") {
            self.close(number);
        }
        Failure::Refused(text)
    }

    /// Sends commands and returns their replies, errors among them, and the number of the connection. With
    /// `only`, nothing is sent on another connection than that one.
    pub(crate) async fn send_all(
        &self,
        commands: &Pipeline,
        only: Option<u64>,
    ) -> Result<(Vec<Value>, u64), Failure> {
        let (mut connection, number) = self.connection().await.map_err(Failure::NotSent)?;
        if only.is_some_and(|only| only != number) {
            return Err(Failure::NotSent(UpstreamError::Broken {
                address: self.place(),
                reason: "the connection on which keys were watched is gone".into(),
            }));
        }
        let count = commands.len();
        match connection.send_packed_commands(commands, 0, count).await {
            Ok(values) => Ok((values, number)),
            Err(error) if is_reply(&error) => Err(Failure::Refused(text_of(&error))),
            Err(error) => {
                self.close(number);
                Err(Failure::Unanswered(self.broken(&error)))
            }
        }
    }

    fn broken(&self, error: &RedisError) -> UpstreamError {
        connection::broken(error, self.topology.options(), self.place())
    }

    fn close(&self, number: u64) {
        let mut open = self.open.lock();
        if open.number == number {
            open.connection = None;
        }
    }

    fn current(&self) -> Option<(MultiplexedConnection, u64)> {
        let open = self.open.lock();
        open.connection.clone().map(|one| (one, open.number))
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), UpstreamError> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let mut back_off = self.opening.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if let (Some(until), Some(error)) = (back_off.until, &back_off.error)
            && Instant::now() < until
        {
            return Err(error.clone());
        }
        match self.open().await {
            Ok(connection) => {
                *back_off = BackOff::default();
                let mut open = self.open.lock();
                open.number += 1;
                open.connection = Some(connection.clone());
                Ok((connection, open.number))
            }
            Err(error) => {
                let wait = BACK_OFF_MIN.saturating_mul(1 << back_off.failures.min(10));
                let wait = wait.min(BACK_OFF_MAX).mul_f64(0.5 + fastrand::f64() / 2.0);
                back_off.failures += 1;
                back_off.until = Some(Instant::now() + wait);
                back_off.error = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<MultiplexedConnection, UpstreamError> {
        let options = self.topology.options();
        // Nothing was told while there was no connection.
        if let Some(on_change) = &self.on_change {
            on_change(Change::All);
        }
        let Some(address) = &self.address else {
            let primary = self.topology.server(None, &self.account).await?;
            let mut opened = self.open_at(&primary).await?;
            // The Sentinels may not know yet that it is a replica now. Where it is refused, a write says so.
            let role = redis::cmd("ROLE");
            match connection::answer(&mut opened, &role, options, &primary).await {
                Ok(Value::Array(parts)) if !is_primary(&parts) => {
                    return Err(UpstreamError::Unreachable {
                        address: primary.to_string(),
                        reason: "the Sentinels name it as the primary, and it is a replica".into(),
                    });
                }
                Ok(_) | Err(UpstreamError::Refused(_)) => return Ok(opened),
                Err(error) => return Err(error),
            }
        };
        self.open_at(address).await
    }

    async fn open_at(&self, address: &Address) -> Result<MultiplexedConnection, UpstreamError> {
        let (account, database) = (&self.account, self.database);
        let on_change = self.on_change.as_ref();
        connection::open(
            self.topology.options(),
            address,
            account,
            database,
            on_change,
        )
        .await
    }
}

/// Returns true if this is the reply to `ROLE` of a primary.
fn is_primary(role: &[Value]) -> bool {
    matches!(role.first(), Some(Value::BulkString(name)) if name == b"master")
}
