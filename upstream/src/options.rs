//! The settings of an engine's connections.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::ClientConfig;

use crate::account::Account;
use crate::address::Location;

/// Settings of connections.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The engine.
    pub location: Location,
    /// Credentials for the Sentinels; those of the location are the engine's.
    pub sentinel_account: Account,
    /// Trusted certificates; needed if the location says TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// Connections for each account, database and node.
    pub connections: usize,
    /// Most accounts and databases that are connected to a node at once.
    pub accounts_max: usize,
    /// Longest time to connect.
    pub connect_time_max: Duration,
    /// Longest time to wait for an answer.
    pub answer_time_max: Duration,
}
