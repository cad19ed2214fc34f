//! Connections on which commands are answered.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, Value};

use super::EngineStream;
use crate::account::Account;
use crate::address::Address;
use crate::error::UpstreamError;
use crate::options::PoolOptions;

/// Commands that wait for a connection to take them.
const QUEUE_LEN_MAX: usize = 1024;

/// Opens a connection of an account in a database.
///
/// # Errors
///
/// The server cannot be reached, or refuses the account or the database.
pub(crate) async fn open(
    options: &PoolOptions,
    address: &Address,
    account: &Account,
    database: u32,
) -> Result<MultiplexedConnection, UpstreamError> {
    let unreachable = |reason: String| UpstreamError::Unreachable {
        address: address.to_string(),
        reason: reason.into(),
    };
    let tls = options.tls.as_ref().filter(|_| options.location.tls);
    let stream = EngineStream::connect(address, tls, options.connect_time_max)
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    let info = RedisConnectionInfo::default()
        .set_protocol(redis::ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(Some(options.answer_time_max))
        .set_pipeline_buffer_size(QUEUE_LEN_MAX);
    let (mut connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    // Ends with the last clone of the connection.
    tokio::spawn(driver);
    if let Some(words) = account.auth() {
        let mut auth = Cmd::new();
        words.into_iter().for_each(|word| {
            auth.arg(word);
        });
        let answered = answer(&mut connection, &auth, options, address).await;
        answered.map_err(|error| match error {
            // No client has given these, so no client can correct them.
            UpstreamError::Refused(text) if *account == options.location.account => {
                UpstreamError::login(account, &text)
            }
            UpstreamError::Refused(text) => {
                UpstreamError::Refused(account.without_secret(&text).into())
            }
            error => error,
        })?;
    }
    if database != 0 {
        let mut select = redis::cmd("SELECT");
        select.arg(database);
        answer(&mut connection, &select, options, address).await?;
    }
    Ok(connection)
}

/// Sends a command that may be lost, and returns its reply, which is no error.
///
/// # Errors
///
/// The server refuses it, or the connection broke.
pub(crate) async fn answer(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
    options: &PoolOptions,
    address: &Address,
) -> Result<Value, UpstreamError> {
    match connection.send_packed_command(command).await {
        Ok(Value::ServerError(error)) => Err(UpstreamError::Refused(text_of(&error.into()))),
        Ok(value) => Ok(value),
        Err(error) if is_reply(&error) => Err(UpstreamError::Refused(text_of(&error))),
        Err(error) => Err(broken(&error, options, address.to_string())),
    }
}

/// Returns the error of a connection that broke.
pub(crate) fn broken(error: &RedisError, options: &PoolOptions, address: String) -> UpstreamError {
    let reason = if error.is_timeout() {
        let limit = options.answer_time_max.as_millis();
        format!("nothing within {limit} ms")
    } else {
        error.to_string()
    }
    .into();
    match error.kind() {
        redis::ErrorKind::Parse => UpstreamError::Garbage { address, reason },
        _ => UpstreamError::Broken { address, reason },
    }
}

/// Returns true for an error that the engine answered, on a connection that is all right.
pub(crate) fn is_reply(error: &RedisError) -> bool {
    !matches!(error.kind(), redis::ErrorKind::Parse | redis::ErrorKind::Io)
        && error.code().is_some()
}

/// Returns an error as the engine wrote it.
pub(crate) fn text_of(error: &RedisError) -> Box<str> {
    let code = error.code().unwrap_or("ERR").to_owned();
    match error.detail() {
        Some(detail) => format!("{code} {detail}").into(),
        None => code.into(),
    }
}
