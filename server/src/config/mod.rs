//! The configuration: what was typed in file, environment and flags, and what it means.

mod audit;
mod error;
mod file;
mod flags;
mod functions;
mod nearest;
mod origin;
mod raw_config;
mod render;
pub(crate) mod runtime;
mod sections;
mod setting;
pub(crate) mod trust;
mod users;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use audit::Audit;
pub use error::ConfigError;
pub use flags::Action;
pub use origin::Origin;
pub use raw_config::KeyInfo;
pub use render::{help, markdown};
pub use sections::{
    SectionInfo, Server, Store, Wasm, WasmBackground, WasmCache, WasmLimits, WasmPool,
    WasmSecurity, keys, sections,
};
pub use setting::{Durability, LogFormat, Port, Secret};
pub use trust::KeysError;
pub use users::{Right, Rights, UserSpec};

#[cfg(test)]
mod tests;

use raw_config::RawConfig;

/// What every key means, defaults filled in, relative paths resolved against `server.dir`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The network, and the process as a whole.
    pub server: Server,
    /// The embedded keyspace.
    pub store: Store,
    /// WebAssembly functions.
    pub wasm: Wasm,
    /// What a call may use.
    pub limits: WasmLimits,
    /// Instances that are kept ready, and calls at once.
    pub pool: WasmPool,
    /// Calls in the background.
    pub background: WasmBackground,
    /// What functions may do.
    pub security: WasmSecurity,
    /// Native code that was made before.
    pub cache: WasmCache,
}

/// What a command line asks for, with the configuration that results from it.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub action: Action,
    /// The configuration.
    pub config: Config,
    /// What looks like a slip but is no error.
    pub warnings: Vec<String>,
}

impl Invocation {
    /// Reads the command line (without the program's name), the environment and the file that
    /// either names.
    ///
    /// Flags win over variables, those over the file, and that over the defaults.
    pub fn read(
        arguments: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let line = flags::read(arguments)?;
        let mut warnings = Vec::new();
        let mut from_environment = RawConfig::default();
        let path = flags::variables(environment, &mut from_environment, &mut warnings)?;
        let mut typed = RawConfig::default();
        if let Some(path) = line.config.or(path) {
            file::read(&path, &mut typed)?;
        }
        typed.overlay(from_environment);
        for (key, raw, origin) in line.settings {
            typed.put(key, raw, origin);
        }
        Ok(Self {
            action: line.action,
            config: Config::resolve(&typed)?,
            warnings,
        })
    }
}

impl Config {
    /// The configuration that `text` describes, as if it stood in the file `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut typed = RawConfig::default();
        file::parse(path, text, &mut typed)?;
        Self::resolve(&typed)
    }

    fn resolve(typed: &RawConfig) -> Result<Self, ConfigError> {
        let config = Self {
            server: Server::resolve(typed)?,
            store: Store::resolve(typed)?,
            wasm: Wasm::resolve(typed)?,
            limits: WasmLimits::resolve(typed)?,
            pool: WasmPool::resolve(typed)?,
            background: WasmBackground::resolve(typed)?,
            security: WasmSecurity::resolve(typed)?,
            cache: WasmCache::resolve(typed)?,
        };
        config.check()?;
        Ok(config)
    }

    /// What no single key can get wrong.
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
        if self.pool.max_instances == 0 || self.pool.total_instances == 0 {
            return conflict("wasm.pool.max_instances and total_instances must be 1 or more");
        }
        if self.security.allow_network {
            return conflict("wasm.security.allow_network: functions cannot use the network yet");
        }
        if self.security.allow_filesystem {
            return conflict("wasm.security.allow_filesystem: functions cannot use files yet");
        }
        runtime::limits(&self.limits).map_err(|error| ConfigError::Conflict(error.to_string()))?;
        trust::read(self).map_err(|error| ConfigError::Conflict(error.to_string()))?;
        Ok(())
    }

    /// `path`, taken from `server.dir` if it is relative.
    #[must_use]
    pub fn below_dir(&self, path: &Path) -> PathBuf {
        self.server.dir.join(path)
    }

    /// The configuration as a file that means the same, but with secrets left out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        render::toml(&self.settings())
    }

    /// Each key with its value as a file would have it, secrets included.
    pub(crate) fn settings(&self) -> Vec<(&'static KeyInfo, String)> {
        let Self {
            server,
            store,
            wasm,
            limits,
            pool,
            background,
            security,
            cache,
        } = self;
        [
            server.written(),
            store.written(),
            wasm.written(),
            limits.written(),
            pool.written(),
            background.written(),
            security.written(),
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
