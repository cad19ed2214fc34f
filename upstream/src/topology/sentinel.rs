//! Asks Sentinels for the primary.

use redis::Value;

use crate::address::Address;
use crate::error::UpstreamError;
use crate::net::connection;
use crate::options::PoolOptions;

/// Returns the address of the primary, as the first Sentinel that knows it says.
///
/// # Errors
///
/// No Sentinel can be reached, or none knows a primary of this name.
pub(super) async fn primary(options: &PoolOptions, name: &str) -> Result<Address, UpstreamError> {
    let mut last = None;
    for sentinel in &options.location.addresses {
        match ask(options, sentinel, name).await {
            Ok(Some(primary)) => return Ok(primary),
            Ok(None) => {
                last = Some(UpstreamError::Unreachable {
                    address: sentinel.to_string(),
                    reason: format!(
                        "this Sentinel knows no primary of the name \"{name}\"; check upstream.url"
                    )
                    .into(),
                });
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(UpstreamError::Stopped))
}

async fn ask(
    options: &PoolOptions,
    sentinel: &Address,
    name: &str,
) -> Result<Option<Address>, UpstreamError> {
    // The credentials of the URL are the engine's.
    let account = &options.sentinel_account;
    let refused = |error| match error {
        UpstreamError::Refused(text) | UpstreamError::Login { answer: text } => {
            let concerns_account = ["WRONGPASS", "NOAUTH", "NOPERM"]
                .iter()
                .any(|code| text.starts_with(code));
            let advice = if concerns_account {
                "; check upstream.sentinel_user and upstream.sentinel_password"
            } else {
                ""
            };
            UpstreamError::Unreachable {
                address: sentinel.to_string(),
                reason: format!("this Sentinel answered \"{text}\"{advice}").into(),
            }
        }
        error => error,
    };
    let opened = connection::open(options, sentinel, account, 0, None).await;
    let mut opened = opened.map_err(refused)?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(name);
    let answered = connection::answer(&mut opened, &command, options, sentinel).await;
    let reply = answered.map_err(refused)?;
    match reply {
        Value::Nil => Ok(None),
        Value::Array(parts) => {
            let text = |value: &Value| match value {
                Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
                _ => None,
            };
            let address = match parts.as_slice() {
                [host, port] => text(host).zip(text(port).and_then(|port| port.parse().ok())),
                _ => None,
            };
            let (host, port) = address.ok_or_else(|| garbage(sentinel))?;
            Ok(Some(Address { host, port }))
        }
        _ => Err(garbage(sentinel)),
    }
}

fn garbage(sentinel: &Address) -> UpstreamError {
    UpstreamError::Garbage {
        address: sentinel.to_string(),
        reason: "SENTINEL answered no address".into(),
    }
}
