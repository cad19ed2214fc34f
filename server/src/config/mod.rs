//! The configuration: read from file, environment and flags, then resolved into options.

mod audit;
mod error;
mod file;
mod flags;
mod functions;
pub(crate) mod live;
mod nearest;
mod origin;
mod raw_config;
mod render;
pub(crate) mod runtime;
mod sections;
mod setting;
mod users;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ferrite_upstream::Location;

pub use audit::Audit;
pub use error::ConfigError;
pub use flags::Action;
pub use functions::{DirectoryList, NetworkList};
pub(crate) use live::rewrite::replace_file;
pub use origin::Origin;
pub use raw_config::KeyInfo;
pub use render::{help, markdown};
pub use runtime::network::NetworkError;
pub use runtime::trust::KeysError;
pub use sections::{
    SectionInfo, Server, Store, Upstream, Wasm, WasmBackground, WasmCache, WasmLimits,
    WasmLimitsMax, WasmNetwork, WasmPool, WasmSecurity, keys, sections,
};
pub use setting::{Durability, EventSelection, LogFormat, Port, Secret};
pub use users::{PasswordError, PasswordHash, Right, Rights, UserSpec};

#[cfg(test)]
mod tests;

use raw_config::RawConfig;

/// The resolved configuration, with defaults filled in. Relative paths are still relative; see
/// [`Config::below_dir`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The network, and the process as a whole.
    pub server: Server,
    /// The embedded keyspace.
    pub store: Store,
    /// An engine that holds the data instead of this server.
    pub upstream: Upstream,
    /// WebAssembly functions.
    pub wasm: Wasm,
    /// Limits of a call.
    pub limits: WasmLimits,
    /// `[wasm.limits.max]`
    pub limits_max: WasmLimitsMax,
    /// Instances that are kept ready, and how many calls run at the same time.
    pub pool: WasmPool,
    /// Calls in the background.
    pub background: WasmBackground,
    /// Permissions of functions, and the keys that sign them.
    pub security: WasmSecurity,
    /// Requests of functions to other servers.
    pub network: WasmNetwork,
    /// Native code from earlier compilations.
    pub cache: WasmCache,
    /// The file that it was read from, if there was one.
    pub file: Option<PathBuf>,
}

/// The action that a command line asks for, and the resulting configuration.
#[derive(Debug)]
pub struct Invocation {
    /// The action that the program carries out.
    pub action: Action,
    /// The configuration.
    pub config: Config,
    /// Likely mistakes that are no errors.
    pub warnings: Vec<String>,
}

impl Invocation {
    /// Reads the command line (without the program's name), the environment and the file that
    /// either names.
    ///
    /// Flags override variables, variables override the file, and the file overrides the defaults.
    pub fn read(
        arguments: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let line = flags::read(arguments)?;
        let mut warnings = Vec::new();
        let mut from_environment = RawConfig::default();
        let path = flags::variables(environment, &mut from_environment, &mut warnings)?;
        let mut raw_config = RawConfig::default();
        let path = line.config.or(path);
        if let Some(path) = &path {
            file::read(path, &mut raw_config)?;
        }
        raw_config.overlay(from_environment);
        for (key, raw, origin) in line.settings {
            raw_config.put(key, raw, origin);
        }
        Ok(Self {
            action: line.action,
            config: Config {
                file: path,
                ..Config::resolve(&raw_config)?
            },
            warnings,
        })
    }
}

impl Config {
    /// Reads `text` as the contents of the file `path`; that file is not opened.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut raw_config = RawConfig::default();
        file::parse(path, text, &mut raw_config)?;
        Self::resolve(&raw_config)
    }

    fn resolve(raw_config: &RawConfig) -> Result<Self, ConfigError> {
        let config = Self {
            server: Server::resolve(raw_config)?,
            store: Store::resolve(raw_config)?,
            upstream: Upstream::resolve(raw_config)?,
            wasm: Wasm::resolve(raw_config)?,
            limits: WasmLimits::resolve(raw_config)?,
            limits_max: WasmLimitsMax::resolve(raw_config)?,
            pool: WasmPool::resolve(raw_config)?,
            background: WasmBackground::resolve(raw_config)?,
            security: WasmSecurity::resolve(raw_config)?,
            network: WasmNetwork::resolve(raw_config)?,
            cache: WasmCache::resolve(raw_config)?,
            file: None,
        };
        config.check()?;
        Ok(config)
    }

    /// Checks keys that depend on each other, and values that cannot be enforced.
    fn check(&self) -> Result<(), ConfigError> {
        let server = &self.server;
        let conflict = |text: &str| Err(ConfigError::Conflict(text.to_owned()));
        if server.tls_cert.is_some() != server.tls_key.is_some() {
            return conflict("server.tls_cert and server.tls_key belong together; one is missing");
        }
        if server.tls_port != Port::Off && server.tls_cert.is_none() {
            return conflict("server.tls_port needs server.tls_cert and server.tls_key");
        }
        if server.tls_port == Port::Off && server.tls_cert.is_some() {
            return conflict("server.tls_cert has no effect without server.tls_port");
        }
        if server.port == Port::Off && server.tls_port == Port::Off {
            return conflict("server.port and server.tls_port are both off; nobody could connect");
        }
        if server.max_connections == 0 {
            return conflict("server.max_connections is 0; nobody could connect");
        }
        if self.upstream.is_set() {
            match self.upstream.url.reveal().parse::<Location>() {
                Err(error) => {
                    let text = format!("upstream.url is wrong: {error}");
                    return Err(ConfigError::Conflict(text));
                }
                Ok(location) => {
                    let upstream = &self.upstream;
                    let faults = [
                        upstream.sentinel_fault(&location),
                        upstream.kept_fault(&location),
                    ];
                    if let Some(fault) = faults.into_iter().flatten().next() {
                        return conflict(fault);
                    }
                }
            }
            if !server.password.reveal().is_empty()
                || !server.users.is_empty()
                || server.acl_file.is_some()
            {
                return conflict(
                    "with upstream.url, users are those of the engine; remove server.password, server.users and server.acl_file",
                );
            }
            if self.wasm.hot_reload {
                return conflict(
                    "wasm.hot_reload changes this server alone, but with upstream.url all servers have the same functions; use WASM.RELOAD",
                );
            }
            if self.upstream.connections == 0 || self.upstream.max_accounts == 0 {
                return conflict("upstream.connections and max_accounts must be 1 or more");
            }
        }
        if self.pool.max_instances == 0 || self.pool.total_instances == 0 {
            return conflict("wasm.pool.max_instances and total_instances must be 1 or more");
        }
        runtime::server_limits(self).map_err(|error| ConfigError::Conflict(error.to_string()))?;
        runtime::network::read(self).map_err(|error| ConfigError::Conflict(error.to_string()))?;
        runtime::trust::read(self).map_err(|error| ConfigError::Conflict(error.to_string()))?;
        Ok(())
    }

    /// Returns `path`, resolved against `server.dir` if it is relative.
    #[must_use]
    pub fn below_dir(&self, path: &Path) -> PathBuf {
        self.server.dir.join(path)
    }

    /// Returns the configuration as a file with the same meaning, but without secrets.
    #[must_use]
    pub fn to_toml(&self) -> String {
        render::toml(&self.settings())
    }

    /// Each key with its value as written in a file, secrets included.
    pub(crate) fn settings(&self) -> Vec<(&'static KeyInfo, String)> {
        let Self {
            server,
            store,
            upstream,
            wasm,
            limits,
            limits_max,
            pool,
            background,
            security,
            network,
            cache,
            file: _,
        } = self;
        [
            server.written(),
            store.written(),
            upstream.written(),
            wasm.written(),
            limits.written(),
            limits_max.written(),
            pool.written(),
            background.written(),
            security.written(),
            network.written(),
            cache.written(),
        ]
        .concat()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::resolve(&RawConfig::default()).expect("a test reads the defaults")
    }
}
