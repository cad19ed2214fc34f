//! One connection to the engine, opened when it is needed and again after it broke.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisError, Value};
use tokio_rustls::rustls::ClientConfig;

use super::PoolOptions;
use crate::account::Account;
use crate::address::Address;
use crate::error::UpstreamError;
use crate::net::EngineStream;

/// Wait after a failed attempt to connect, which doubles with each further one.
const BACK_OFF_MIN: Duration = Duration::from_millis(20);
/// Longest such wait.
const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// Commands that wait for the connection to take them.
const QUEUE_LEN_MAX: usize = 1024;

/// One connection to the engine, shared by many calls.
pub(crate) struct Line {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    account: Account,
    database: u32,
    connect_time_max: Duration,
    answer_time_max: Duration,
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
        write!(out, "Line({}, {:?})", self.address, self.account)
    }
}

impl Line {
    pub(crate) fn new(options: &PoolOptions, account: &Account, database: u32) -> Self {
        Self {
            address: options.location.address.clone(),
            tls: options.tls.clone().filter(|_| options.location.tls),
            account: account.clone(),
            database,
            connect_time_max: options.connect_time_max,
            answer_time_max: options.answer_time_max,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends one command and returns its reply, which is no error.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, Failure> {
        let (mut connection, number) = self.connection().await.map_err(Failure::NotSent)?;
        match connection.send_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(Failure::Refused(text_of(&error.into()))),
            Ok(value) => Ok(value),
            Err(error) if is_reply(&error) => Err(Failure::Refused(text_of(&error))),
            Err(error) => {
                self.close(number);
                Err(Failure::Unanswered(self.broken(&error)))
            }
        }
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
                address: self.address.to_string(),
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
        let reason = if error.is_timeout() {
            let limit = self.answer_time_max.as_millis();
            format!("nothing within {limit} ms")
        } else {
            error.to_string()
        };
        let (address, reason) = (self.address.to_string(), reason.into());
        match error.kind() {
            redis::ErrorKind::Parse => UpstreamError::Garbage { address, reason },
            _ => UpstreamError::Broken { address, reason },
        }
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
        let unreachable = |reason: String| UpstreamError::Unreachable {
            address: self.address.to_string(),
            reason: reason.into(),
        };
        let stream = EngineStream::connect(&self.address, self.tls.as_ref(), self.connect_time_max)
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let info = RedisConnectionInfo::default()
            .set_protocol(redis::ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(Some(self.answer_time_max))
            .set_pipeline_buffer_size(QUEUE_LEN_MAX);
        let (mut connection, driver) =
            MultiplexedConnection::new_with_config(&info, stream, config)
                .await
                .map_err(|error| unreachable(error.to_string()))?;
        // Ends with the last clone of the connection.
        tokio::spawn(driver);
        let mut first = Vec::new();
        if let Some(words) = self.account.auth() {
            let mut auth = Cmd::new();
            words.into_iter().for_each(|word| {
                auth.arg(word);
            });
            first.push(auth);
        }
        if self.database != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(self.database);
            first.push(select);
        }
        for command in first {
            match connection.send_packed_command(&command).await {
                Ok(Value::ServerError(error)) => {
                    return Err(UpstreamError::Refused(text_of(&error.into())));
                }
                Ok(_) => {}
                Err(error) if is_reply(&error) => {
                    return Err(UpstreamError::Refused(text_of(&error)));
                }
                Err(error) => return Err(self.broken(&error)),
            }
        }
        Ok(connection)
    }
}

/// Returns true for an error that the engine answered, on a connection that is all right.
fn is_reply(error: &RedisError) -> bool {
    !matches!(error.kind(), redis::ErrorKind::Parse | redis::ErrorKind::Io)
        && error.code().is_some()
}

/// Returns an error as the engine wrote it.
fn text_of(error: &RedisError) -> Box<str> {
    let code = error.code().unwrap_or("ERR").to_owned();
    match error.detail() {
        Some(detail) => format!("{code} {detail}").into(),
        None => code.into(),
    }
}
