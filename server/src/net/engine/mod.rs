//! The engine that holds the data, where this server holds none.

pub(crate) mod functions;

use std::fmt;

use ferrite_store::Store;
use ferrite_upstream::{
    Bounds, Edition, GuestThreads, Location, LocationError, PoolOptions, Upstream, UpstreamOptions,
};

use crate::config::Config;
use crate::net::tls::{self, TlsError};
use crate::observability::log_throttle::LogThrottle;
use crate::scheduling::long_calls::LongCalls;

/// Fields of a hash that are fetched at once, even if a function may need only some of them.
const WHOLE_FIELDS_MAX: u64 = 512;

/// The engine that holds the data.
pub(crate) struct Engine {
    pub(crate) upstream: Upstream,
    /// True if clients use the engine with the credentials of the URL.
    pub(crate) shares_account: bool,
    /// The functions in the engine that this server has taken over; `None` before the first time.
    pub(crate) functions_edition: tokio::sync::Mutex<Option<Edition>>,
    /// Bounds the log lines about them.
    pub(crate) function_warnings: LogThrottle,
}

impl fmt::Debug for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = &self.upstream.pool_options().location;
        write!(out, "Engine({})", location.places())
    }
}

/// Reason why the engine cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The URL is wrong.
    #[error("upstream.url is wrong")]
    Location(#[source] LocationError),
    /// The trusted certificates cannot be read.
    #[error("the certificates for upstream.url cannot be read")]
    Tls(#[from] TlsError),
}

/// Prepares the use of the engine; `None` if the data is kept here.
pub(crate) fn open(
    config: &Config,
    store: &Store,
    run_id: &str,
) -> Result<Option<Engine>, EngineError> {
    let settings = &config.upstream;
    if !settings.is_set() {
        return Ok(None);
    }
    let location: Location = settings
        .url
        .reveal()
        .parse()
        .map_err(EngineError::Location)?;
    let tls = match location.tls {
        true => Some(tls::client(config)?),
        false => None,
    };
    let pool = PoolOptions {
        location,
        sentinel_account: settings.sentinel_account(),
        tls,
        connections: settings.connections,
        accounts_max: settings.max_accounts,
        connect_time_max: settings.connect_timeout.0,
        answer_time_max: settings.answer_timeout.0,
    };
    let bounds = Bounds {
        value_bytes_max: settings.max_value.0,
        values_bytes_max: settings.max_fetch.0,
        elements_max: settings.max_elements as u64,
        whole_fields_max: WHOLE_FIELDS_MAX,
    };
    let options = UpstreamOptions {
        pool,
        bounds,
        kept_bytes_max: settings.max_kept.0,
        server_id: run_id.to_owned(),
        commits_requests: true,
    };
    Ok(Some(Engine {
        upstream: Upstream::new(options, store.clone()),
        shares_account: settings.share_account,
        functions_edition: tokio::sync::Mutex::default(),
        function_warnings: LogThrottle::default(),
    }))
}

/// Runs functions that compute for long on the threads for long calls.
pub(crate) struct CallThreads<'a>(pub(crate) &'a LongCalls);

impl GuestThreads for CallThreads<'_> {
    async fn run<F>(&self, work: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Unpin + Send,
    {
        self.0.run(work).await
    }
}
