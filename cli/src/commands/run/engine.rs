//! An engine that holds the data of a call, in place of a store of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ferrite_protocol::resp::Encoder;
use ferrite_runtime::commands::EngineUse;
use ferrite_runtime::{CallOutcome, CallRequest, ReceiptOf, Runtime};
use ferrite_store::Store;
use ferrite_upstream::{
    Account, Bounds, Deployment, Location, PoolOptions, SameThread, Upstream, UpstreamOptions,
};

use crate::terminal::console::UsageError;
use crate::tls::TlsOptions;

/// The environment variable that holds the password. No option takes one, because other users of the
/// machine see the arguments of a process.
const PASSWORD_VARIABLE: &str = "FERRITE_UPSTREAM_PASSWORD";

/// The environment variables that hold the credentials for Sentinels, as the server names them.
const SENTINEL_USER_VARIABLE: &str = "FERRITE_UPSTREAM_SENTINEL_USER";
const SENTINEL_PASSWORD_VARIABLE: &str = "FERRITE_UPSTREAM_SENTINEL_PASSWORD";

/// Bounds as the server has them by default.
const BOUNDS: Bounds = Bounds {
    value_bytes_max: 16 << 20,
    values_bytes_max: 64 << 20,
    elements_max: 100_000,
    whole_fields_max: 512,
};

/// Longest time to connect, as the server has it by default.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// Longest time to wait for an answer, as the server has it by default.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Options of a call on the data of an engine.
#[derive(Debug, clap::Args)]
pub(super) struct EngineOptions {
    /// Call it on the data of this Redis-compatible engine, which keeps what it writes:
    /// redis://USER@HOST:PORT, redis+cluster://HOST,HOST or redis+sentinel://HOST,HOST/NAME, and
    /// rediss for TLS. The password is read from FERRITE_UPSTREAM_PASSWORD, that of the Sentinels from
    /// FERRITE_UPSTREAM_SENTINEL_PASSWORD and their user from FERRITE_UPSTREAM_SENTINEL_USER
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    upstream: Option<Location>,

    /// Database of the engine
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "upstream", value_parser = clap::value_parser!(u32).range(0..16))]
    database: u32,

    /// Trust only the certificate authorities of this PEM file, for rediss. Default: those of the system
    #[arg(long, value_name = "FILE", requires = "upstream")]
    cacert: Option<PathBuf>,
}

/// An engine, and the database to call functions in.
#[derive(Debug)]
pub(super) struct Engine {
    pool: PoolOptions,
    database: u32,
}

impl EngineOptions {
    /// Returns the engine that the options name; `None` if they name none.
    ///
    /// # Errors
    ///
    /// Fails if options contradict each other, or a file cannot be used.
    pub(super) fn engine(self) -> Result<Option<Engine>> {
        let Self {
            upstream,
            database,
            cacert,
        } = self;
        let Some(mut location) = upstream else {
            return Ok(None);
        };
        if cacert.is_some() && !location.tls {
            bail!(UsageError(
                "--cacert is for TLS; begin the URL of --upstream with rediss".to_owned()
            ));
        }
        if location.account.password.is_some() {
            bail!(UsageError(format!(
                "--upstream: leave the password out of the URL, where other users of this machine see it; set {PASSWORD_VARIABLE}"
            )));
        }
        location.account.password = variable(PASSWORD_VARIABLE)?;
        if location.account.user.is_some() && location.account.password.is_none() {
            bail!(UsageError(format!(
                "--upstream names a user; set {PASSWORD_VARIABLE} to its password"
            )));
        }
        let sentinel_account = match location.deployment {
            Deployment::Sentinel { .. } => Account {
                user: variable(SENTINEL_USER_VARIABLE)?,
                password: variable(SENTINEL_PASSWORD_VARIABLE)?,
            },
            Deployment::Single | Deployment::Cluster => Account::default(),
        };
        if sentinel_account.user.is_some() && sentinel_account.password.is_none() {
            bail!(UsageError(format!(
                "{SENTINEL_USER_VARIABLE} names a user; set {SENTINEL_PASSWORD_VARIABLE} to its password"
            )));
        }
        let tls = match location.tls {
            true => Some(Arc::new(TlsOptions::trusting(cacert).config()?)),
            false => None,
        };
        let pool = PoolOptions {
            location,
            sentinel_account,
            tls,
            connections: 1,
            accounts_max: 1,
            connect_time_max: CONNECT_TIME_MAX,
            answer_time_max: ANSWER_TIME_MAX,
        };
        Ok(Some(Engine { pool, database }))
    }
}

impl Engine {
    /// Calls a function on the engine's data. The reply goes to `encoder`.
    ///
    /// # Errors
    ///
    /// Fails if there can be no thread for the connections. What the engine refuses is an error of the call.
    pub(super) fn call(
        &self,
        runtime: &Runtime<Store>,
        request: &CallRequest<'_>,
        encoder: &mut Encoder,
    ) -> Result<(CallOutcome<ReceiptOf<Store>>, EngineUse)> {
        let executor = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no connections can be made")?;
        let request = CallRequest {
            database: self.database,
            ..*request
        };
        let server_id = new_id()?;
        Ok(executor.block_on(async {
            let options = UpstreamOptions {
                pool: self.pool.clone(),
                bounds: BOUNDS,
                kept_bytes_max: 0,
                server_id,
                // They name no function that the engine's servers have.
                commits_requests: false,
            };
            let account = &self.pool.location.account;
            let upstream = Upstream::new(options, runtime.keyspace().clone());
            let call = upstream.call(runtime, &SameThread, &request, account, encoder);
            call.await
        }))
    }
}

/// Returns the value of an environment variable, if it is set.
fn variable(name: &str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bail!("{name} is not UTF-8"),
    }
}

/// Returns an id that no other caller of the engine has.
fn new_id() -> Result<String> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
