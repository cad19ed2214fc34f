//! Requests that calls have committed to the engine, to be sent afterwards.
//!
//! A call's commit writes their records together with its data. One of the servers before the engine has the right
//! to send at a time ([`hold`]): it takes the records in ([`look`]), and changes them as it sends. Each server can
//! show and change them.

mod change;
mod hold;
mod look;
mod records;
mod slots;

use redis::{Cmd, Value};

use crate::account::Account;
use crate::call::Upstream;
use crate::error::UpstreamError;

pub use look::Look;

/// The requests in an engine, as one account may read and write them.
#[derive(Clone, Copy, Debug)]
pub struct EngineRequests<'a> {
    upstream: &'a Upstream,
    account: &'a Account,
    /// True if it is used to send, which needs the lease.
    sends: bool,
}

impl Upstream {
    /// Returns the requests in the engine, with the rights of `account`.
    #[must_use]
    pub const fn requests<'a>(&'a self, account: &'a Account) -> EngineRequests<'a> {
        EngineRequests {
            upstream: self,
            account,
            sends: false,
        }
    }

    /// Returns the requests in the engine for the server to send, with the rights of the user in the URL.
    #[must_use]
    pub fn requests_to_send(&self) -> EngineRequests<'_> {
        EngineRequests {
            sends: true,
            ..self.requests(&self.pool_options().location.account)
        }
    }
}

impl EngineRequests<'_> {
    /// Sends a command on a key of its own.
    async fn send(&self, key: &str, command: &Cmd) -> Result<Value, UpstreamError> {
        let route = self.upstream.route(self.account, 0)?;
        let slot = self.upstream.topology().slot_of(key.as_bytes());
        route.send(slot, command).await.map_err(UpstreamError::from)
    }

    /// Returns true if this server may send now.
    #[must_use]
    pub fn may_send(&self) -> bool {
        self.upstream.lease_to_send.is_held()
    }
}

/// Returns the texts of an array.
fn texts(value: Value) -> Vec<Vec<u8>> {
    let Value::Array(values) = value else {
        return Vec::new();
    };
    let text = |value| match value {
        Value::BulkString(text) => Some(text),
        _ => None,
    };
    values.into_iter().filter_map(text).collect()
}
