//! The state that all connections share: keyspace, functions, users, counters.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ferrite_cache::{Cache, CacheOptions};
use ferrite_runtime::policy::limits::LimitsError;
use ferrite_runtime::{CallUser, Runtime, RuntimeOptions};
use ferrite_store::{DiskOptions, Durability, Observer, Store, StoreOptions};
use tokio::sync::watch;

use crate::clients::pubsub::channels::Channels;
use crate::clients::pubsub::keyspace_events::KeyspaceEvents;
use crate::clients::pubsub::monitors::Monitors;
use crate::clients::registry::Clients;
use crate::clients::users::{UserDirectory, Users, UsersError};
use crate::config::live::LiveConfig;
use crate::config::{self, Config};
use crate::functions::Functions;
use crate::net::engine::{self, Engine, EngineError};
use crate::net::memory_budget::RequestMemory;
use crate::observability::acl_log::AclLog;
use crate::observability::audit::Audit;
use crate::observability::backups::Backups;
use crate::observability::command_stats::CommandStats;
use crate::observability::counters::Stats;
use crate::observability::latency::LatencyMonitor;
use crate::observability::log_throttle::LogThrottle;
use crate::observability::rates::{Rates, Totals};
use crate::observability::slowlog::SlowCalls;
use crate::process::figures::unix_seconds;
use crate::process::log::{self, LogError};
use crate::process::memory::resident_bytes;
use crate::scheduling::background::BackgroundCalls;
use crate::scheduling::long_calls::LongCalls;

/// The state that all connections share.
pub struct ServerState {
    /// The configuration at the start.
    pub(crate) config: Config,
    /// The settings that can change while the server runs.
    pub(crate) live: LiveConfig,
    pub(crate) store: Store,
    /// The engine that holds the data; `None` if this server holds it itself.
    pub(crate) engine: Option<Engine>,
    /// The runtime of functions; `None` if functions are switched off.
    pub(crate) functions: Option<Functions>,
    /// Calls that go on after their client got a reply.
    pub(crate) background: BackgroundCalls,
    pub(crate) long_calls: LongCalls,
    pub(crate) users: UserDirectory,
    pub(crate) clients: Arc<Clients>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) monitors: Arc<Monitors>,
    pub(crate) keyspace_events: Arc<KeyspaceEvents>,
    pub(crate) stats: Stats,
    pub(crate) command_stats: CommandStats,
    pub(crate) rates: Rates,
    pub(crate) latency: LatencyMonitor,
    pub(crate) backups: Backups,
    /// Requests that users were refused.
    pub(crate) acl_log: AclLog,
    pub(crate) audit: Audit,
    pub(crate) slow_calls: SlowCalls,
    /// Bounds the log lines about wrong passwords.
    pub(crate) wrong_passwords: LogThrottle,
    /// Bounds the log lines about requests of HTTP.
    pub(crate) http_requests: LogThrottle,
    /// Bounds the log lines about connections that are refused.
    pub(crate) refused_connections: LogThrottle,
    pub(crate) started: Instant,
    /// The start, in seconds since 1970.
    pub(crate) started_unix: u64,
    /// 40 hex digits that no other run of a server has.
    pub(crate) run_id: String,
    /// Memory of the process before it served anything.
    pub(crate) memory_at_start: u64,
    /// Memory of large requests that are arriving.
    pub(crate) request_memory: RequestMemory,
    stop: watch::Sender<bool>,
}

/// Reason why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The users of the configuration contradict each other.
    #[error("the configuration's users are wrong")]
    Users(#[from] UsersError),
    /// The data cannot be opened.
    #[error("cannot open the data")]
    Store(#[from] ferrite_store::OpenError),
    /// A limit cannot be enforced.
    #[error("the configuration's limits are wrong")]
    Limits(#[from] LimitsError),
    /// The keys of the configuration cannot be used.
    #[error("the configuration's keys are wrong")]
    Keys(#[from] config::KeysError),
    /// The rules for functions on the network are wrong.
    #[error(transparent)]
    Network(#[from] config::NetworkError),
    /// A folder cannot be created.
    #[error("cannot create the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The engine cannot be used.
    #[error("upstream.url is set, but no connection can be prepared")]
    Engine(#[from] EngineError),
    /// Functions cannot be run.
    #[error("cannot run functions")]
    Functions(#[from] ferrite_runtime::StartError),
}

/// Reason why a changed configuration cannot be put into force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The filter of the log is wrong.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The limits cannot be enforced.
    #[error(transparent)]
    Limits(#[from] LimitsError),
}

impl ServerState {
    /// Opens the keyspace and loads the functions of this configuration.
    ///
    /// # Errors
    ///
    /// If the configuration is wrong, or data or functions cannot be opened. A cache that cannot be
    /// used is only logged.
    pub fn open(config: Config) -> Result<Arc<Self>, StartError> {
        let users = Users::new(&config.server)?;
        let store = store(&config)?;
        let run_id = run_id();
        let engine = engine::open(&config, &store, &run_id)?;
        let functions = match config.wasm.enabled {
            true => Some(functions(&config, &store)?),
            false => None,
        };
        let channels = Arc::new(Channels::default());
        let selection = config.server.notify_keyspace_events;
        let keyspace_events = Arc::new(KeyspaceEvents::new(Arc::clone(&channels), selection));
        store.set_observer(Arc::clone(&keyspace_events) as Arc<dyn Observer>);
        store.report_events(selection.selects());
        let backups = Backups::new(unix_seconds(), store.figures().commits);
        Ok(Arc::new(Self {
            audit: Audit::new(config.wasm.audit),
            slow_calls: SlowCalls::new(config.wasm.slow_calls_kept),
            wrong_passwords: LogThrottle::default(),
            http_requests: LogThrottle::default(),
            refused_connections: LogThrottle::default(),
            live: LiveConfig::new(&config),
            config,
            store,
            engine,
            functions,
            background: BackgroundCalls::default(),
            long_calls: LongCalls::default(),
            users: UserDirectory::new(users),
            clients: Arc::default(),
            monitors: Arc::default(),
            channels,
            keyspace_events,
            stats: Stats::default(),
            command_stats: CommandStats::default(),
            rates: Rates::default(),
            latency: LatencyMonitor::default(),
            backups,
            acl_log: AclLog::default(),
            started: Instant::now(),
            started_unix: unix_seconds(),
            run_id,
            memory_at_start: resident_bytes(),
            request_memory: RequestMemory::default(),
            stop: watch::Sender::new(false),
        }))
    }

    /// Returns the number of users that share the places of functions; fewer than two share nothing.
    #[inline]
    pub(crate) fn sharing_users(&self) -> usize {
        match &self.engine {
            _ if !self.config.pool.share_among_users => 0,
            Some(engine) if engine.shares_account => 0,
            // The engine's users are not known before they come, so there is room for another one.
            Some(_) => CallUser::known() + 1,
            None => self.users.enabled(),
        }
    }

    /// Puts a changed configuration into force, as far as it can change while the server runs, and other
    /// users if it has others.
    ///
    /// # Errors
    ///
    /// If one of its values cannot be used; then nothing has changed.
    pub(crate) fn apply(&self, config: Config, users: Option<Users>) -> Result<(), ApplyError> {
        let before = self.live.current();
        let limits = config::runtime::server_limits(&config)?;
        if let Some(functions) = &self.functions {
            functions.check_limits(&limits)?;
        }
        if config.server.log != before.server.log {
            log::set_filter(&config.server.log)?;
        }
        if let Some(functions) = &self.functions {
            functions.set_limits(limits)?;
        }
        if let Some(users) = users {
            self.users.replace(users);
        }
        self.store
            .set_durability(store_durability(config.store.durability));
        let selection = config.server.notify_keyspace_events;
        self.keyspace_events.select(selection);
        self.store.report_events(selection.selects());
        self.audit.set(config.wasm.audit);
        self.slow_calls.keep(config.wasm.slow_calls_kept);
        self.live.set(Arc::new(config));
        self.check_memory();
        Ok(())
    }

    /// Refuses commands that need more memory while the process uses more than it may.
    pub(crate) fn check_memory(&self) {
        let max = self.live.max_memory();
        self.store.refuse_growth(max > 0 && resident_bytes() > max);
    }

    /// Adds the counters of now to those that rates are computed from.
    pub(crate) fn sample_rates(&self) {
        let stats = &self.stats;
        let totals = Totals {
            requests: stats.requests.get(),
            input_bytes: stats.input_bytes.get(),
            output_bytes: stats.output_bytes.get(),
        };
        self.rates.sample(Instant::now(), totals);
    }

    /// Asks the server to stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the server is asked to stop.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // Fails only if the sender is dropped, which `self` holds.
        let _ = stop.wait_for(|&stop| stop).await;
    }
}

fn store(config: &Config) -> Result<Store, StartError> {
    let config::Store {
        persistent,
        data_dir,
        backup_dir: _,
        durability,
        min_free_space,
        max_write_queue,
    } = &config.store;
    let options = StoreOptions {
        limits: ferrite_store::Limits {
            string_bytes_max: saturate(config.server.max_value.0),
        },
        ..StoreOptions::default()
    };
    if !persistent || config.upstream.is_set() {
        return Ok(Store::in_memory(&options));
    }
    let disk = DiskOptions {
        durability: store_durability(*durability),
        free_bytes_min: min_free_space.0,
        queue_bytes_max: saturate(max_write_queue.0),
        ..DiskOptions::new(config.below_dir(data_dir))
    };
    Ok(Store::open(&options, disk)?)
}

const fn store_durability(durability: config::Durability) -> Durability {
    match durability {
        config::Durability::Always => Durability::Always,
        config::Durability::EverySecond => Durability::EverySecond,
        config::Durability::No => Durability::No,
    }
}

/// Makes the id of this run, which is random: 40 hexadecimal digits.
fn run_id() -> String {
    let mut id = [0_u8; 20];
    if let Err(error) = getrandom::fill(&mut id) {
        tracing::warn!(%error, "the id of this run is not random");
    }
    let (most, rest) = id.split_at(16);
    let digits = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u128::from(byte))
    };
    format!("{:032x}{:08x}", digits(most), digits(rest))
}

fn saturate(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn functions(config: &Config, store: &Store) -> Result<Functions, StartError> {
    let options = RuntimeOptions {
        network: config::runtime::network::read(config)?,
        trust: config::runtime::trust::read(config)?,
        outbox: true,
        // The commits of calls on another engine's data are made there.
        automation: !config.upstream.is_set(),
        yield_now: Some(|| Box::pin(tokio::task::yield_now())),
        ..config::runtime::options(config)?
    };
    if let Some(folder) = options.registry.as_deref().and_then(Path::parent) {
        std::fs::create_dir_all(folder).map_err(|source| StartError::Folder {
            path: folder.to_owned(),
            source,
        })?;
    }
    Ok(Runtime::new(options, store.clone(), cache(config))?)
}

/// Opens the cache; `None` if it is switched off or cannot be used.
fn cache(config: &Config) -> Option<Cache> {
    if !config.cache.enabled {
        return None;
    }
    let root = config.below_dir(&config.cache.compiled_cache_dir);
    let options = CacheOptions {
        root: root.clone(),
        size_bytes_max: config.cache.max_cache_size.0,
    };
    match Cache::open(options) {
        Ok(cache) => Some(cache),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                root = %root.display(),
                "the cache cannot be used: functions are compiled at every start and cannot be loaded by digest"
            );
            None
        }
    }
}
