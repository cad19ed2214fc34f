//! Connections on which commands are answered.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, PushInfo, PushKind, RedisConnectionInfo, RedisError, Value,
};
use tokio::time::timeout;

use super::EngineStream;
use crate::account::Account;
use crate::address::Address;
use crate::error::UpstreamError;
use crate::options::PoolOptions;

/// Commands that wait for a connection to take them.
const QUEUE_LEN_MAX: usize = 1024;

/// A change of keys that a connection was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// These keys.
    Keys(Vec<Vec<u8>>),
    /// Any key, or nothing is told any more.
    All,
}

/// Is called with each change of a key that was read on a connection.
pub(crate) type OnChange = Arc<dyn Fn(Change) + Send + Sync>;

/// Opens a connection of an account in a database. With `on_change`, the engine tells of changes of the keys that
/// are read on it, except by itself.
///
/// # Errors
///
/// The server cannot be reached, or refuses the account or the database.
pub(crate) async fn open(
    options: &PoolOptions,
    address: &Address,
    account: &Account,
    database: u32,
    on_change: Option<&OnChange>,
) -> Result<MultiplexedConnection, UpstreamError> {
    let unreachable = |reason: String| UpstreamError::Unreachable {
        address: address.to_string(),
        reason: reason.into(),
    };
    let tls = options.tls.as_ref().filter(|_| options.location.tls);
    let stream = EngineStream::connect(address, tls, options.connect_time_max)
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    let mut info = RedisConnectionInfo::default()
        .set_protocol(redis::ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    let mut config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(Some(options.answer_time_max))
        .set_pipeline_buffer_size(QUEUE_LEN_MAX);
    if let Some(on_change) = on_change {
        // The crate logs in together with the choice of the protocol.
        info = info.set_protocol(redis::ProtocolVersion::RESP3);
        if let Some(password) = &account.password {
            info = info.set_password(password);
            if let Some(user) = &account.user {
                info = info.set_username(user);
            }
        }
        let on_change = Arc::clone(on_change);
        config = config.set_push_sender(move |push: PushInfo| {
            if let Some(change) = change(push) {
                on_change(change);
            }
            Ok::<(), Infallible>(())
        });
    }
    let opening = MultiplexedConnection::new_with_config(&info, stream, config);
    let opened = timeout(options.answer_time_max, opening).await;
    let opened = opened.unwrap_or_else(|_| Err(std::io::Error::from(ErrorKind::TimedOut).into()));
    let (mut connection, driver) = opened.map_err(|error| match error.kind() {
        redis::ErrorKind::Io | redis::ErrorKind::Parse => unreachable(error.to_string()),
        _ => {
            let text = match error.code() {
                Some(_) => text_of(&error),
                None => format!("ERR {error}").into(),
            };
            UpstreamError::Refused(account.without_secret(&text).into())
        }
    })?;
    // Ends with the last clone of the connection.
    tokio::spawn(driver);
    if let Some(words) = account.auth().filter(|_| on_change.is_none()) {
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
    if on_change.is_some() {
        let mut track = redis::cmd("CLIENT");
        track.arg("TRACKING").arg("ON").arg("NOLOOP");
        answer(&mut connection, &track, options, address).await?;
    }
    Ok(connection)
}

/// Reads what the engine, or the crate, tells by itself; `None` if it is no change of keys.
fn change(push: PushInfo) -> Option<Change> {
    match push.kind {
        PushKind::Disconnection => Some(Change::All),
        PushKind::Invalidate => Some(match push.data.into_iter().next() {
            Some(Value::Array(keys)) => {
                let keys = keys.into_iter().map(|key| match key {
                    Value::BulkString(key) => Some(key),
                    _ => None,
                });
                keys.collect::<Option<_>>()
                    .map_or(Change::All, Change::Keys)
            }
            _ => Change::All,
        }),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::{Change, PushInfo, PushKind, Value, change};

    #[test]
    fn changes_of_keys_are_told_from_other_pushes() {
        let push = |kind, data| change(PushInfo { kind, data });
        let key = || Value::BulkString(b"key".to_vec());
        let one = push(PushKind::Invalidate, vec![Value::Array(vec![key()])]);
        assert_eq!(one, Some(Change::Keys(vec![b"key".to_vec()])));
        // After `FLUSHALL`, and in a form that is not known.
        for data in [
            vec![Value::Nil],
            vec![],
            vec![Value::Array(vec![Value::Nil])],
        ] {
            assert_eq!(push(PushKind::Invalidate, data), Some(Change::All));
        }
        assert_eq!(push(PushKind::Disconnection, vec![]), Some(Change::All));
        assert_eq!(push(PushKind::Message, vec![key()]), None);
    }
}
