//! The settings that can change while the server runs.

pub(crate) mod redis_names;
pub(crate) mod rewrite;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::config::error::ConfigError;
use crate::config::origin::Origin;
use crate::config::raw_config::{KeyInfo, RawConfig};
use crate::config::setting::Raw;
use crate::config::{Config, file, sections};

/// The keys that can change while the server runs.
const CHANGEABLE: [&str; 31] = [
    "server.users",
    "server.password",
    "server.max_connections",
    "server.idle_timeout",
    "server.stall_timeout",
    "server.write_timeout",
    "server.shutdown_timeout",
    "server.max_memory",
    "server.notify_keyspace_events",
    "server.log",
    "store.durability",
    "wasm.audit",
    "wasm.slow_call",
    "wasm.slow_calls_kept",
    "wasm.limits.max_memory",
    "wasm.limits.max_time",
    "wasm.limits.max_fuel",
    // Has one possible value, and the error says so.
    "wasm.limits.max_stack",
    "wasm.limits.max_stack_depth",
    "wasm.limits.max_reply",
    "wasm.limits.max_writes",
    "wasm.limits.max_table_elements",
    "wasm.limits.max_log",
    "wasm.limits.max.max_memory",
    "wasm.limits.max.max_time",
    "wasm.limits.max.max_fuel",
    "wasm.limits.max.max_stack_depth",
    "wasm.limits.max.max_reply",
    "wasm.limits.max.max_writes",
    "wasm.limits.max.max_table_elements",
    "wasm.limits.max.max_log",
];

/// The settings in force. Those that connections read often can be read without a lock.
#[derive(Debug)]
pub(crate) struct LiveConfig {
    current: RwLock<Arc<Config>>,
    max_connections: AtomicUsize,
    max_memory: AtomicU64,
    idle_timeout_millis: AtomicU64,
    stall_timeout_millis: AtomicU64,
    write_timeout_millis: AtomicU64,
    shutdown_timeout_millis: AtomicU64,
    slow_call_micros: AtomicU64,
    tcp_port: AtomicU16,
    /// Locked while a changed configuration is made of the current one and put into force.
    changing: Mutex<()>,
    /// Paths of the keys that were changed while the server runs.
    changed: Mutex<BTreeSet<String>>,
}

impl LiveConfig {
    pub(crate) fn new(config: &Config) -> Self {
        let config = Arc::new(config.clone());
        let live = Self {
            current: RwLock::new(Arc::clone(&config)),
            max_connections: AtomicUsize::default(),
            max_memory: AtomicU64::default(),
            idle_timeout_millis: AtomicU64::default(),
            stall_timeout_millis: AtomicU64::default(),
            write_timeout_millis: AtomicU64::default(),
            shutdown_timeout_millis: AtomicU64::default(),
            slow_call_micros: AtomicU64::default(),
            tcp_port: AtomicU16::default(),
            changing: Mutex::default(),
            changed: Mutex::default(),
        };
        live.set(config);
        live
    }

    /// Returns the whole configuration in force.
    pub(crate) fn current(&self) -> Arc<Config> {
        Arc::clone(&self.current.read())
    }

    /// Lets one change after the other be made: hold it from reading the configuration until the new
    /// one is set.
    pub(crate) fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changing.lock()
    }

    /// Puts a configuration into force, which [`Config::with`] has made of the current one.
    pub(crate) fn set(&self, config: Arc<Config>) {
        let server = &config.server;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let slow = u64::try_from(config.wasm.slow_call.0.as_micros()).unwrap_or(u64::MAX);
        for (cell, value) in [
            (&self.max_memory, server.max_memory.0),
            (&self.idle_timeout_millis, millis(server.idle_timeout.0)),
            (&self.stall_timeout_millis, millis(server.stall_timeout.0)),
            (&self.write_timeout_millis, millis(server.write_timeout.0)),
            (
                &self.shutdown_timeout_millis,
                millis(server.shutdown_timeout.0),
            ),
            (&self.slow_call_micros, slow),
        ] {
            cell.store(value, Ordering::Relaxed);
        }
        self.max_connections
            .store(server.max_connections, Ordering::Relaxed);
        *self.current.write() = config;
    }

    /// Notes that a key was changed.
    pub(crate) fn note_changed(&self, key: &KeyInfo) {
        self.changed.lock().insert(key.path());
    }

    /// Returns the paths of the keys that were changed.
    pub(crate) fn changed(&self) -> BTreeSet<String> {
        self.changed.lock().clone()
    }

    pub(crate) fn max_connections(&self) -> usize {
        self.max_connections.load(Ordering::Relaxed)
    }

    /// Returns the memory above which writes are refused; 0 for no limit.
    pub(crate) fn max_memory(&self) -> u64 {
        self.max_memory.load(Ordering::Relaxed)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_millis.load(Ordering::Relaxed))
    }

    pub(crate) fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_millis.load(Ordering::Relaxed))
    }

    pub(crate) fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_millis.load(Ordering::Relaxed))
    }

    pub(crate) fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_millis.load(Ordering::Relaxed))
    }

    /// Returns the time from which on calls and commands are slow; 0 for none.
    pub(crate) fn slow_call(&self) -> Duration {
        Duration::from_micros(self.slow_call_micros.load(Ordering::Relaxed))
    }

    /// Returns the port of plain connections, as the system chose it; 0 if there is none.
    pub(crate) fn tcp_port(&self) -> u16 {
        self.tcp_port.load(Ordering::Relaxed)
    }

    pub(crate) fn set_tcp_port(&self, port: u16) {
        self.tcp_port.store(port, Ordering::Relaxed);
    }
}

/// Returns true if this key can change while the server runs.
pub(crate) fn can_change(key: &KeyInfo) -> bool {
    CHANGEABLE.contains(&key.path().as_str())
}

/// Returns the key of this name, such as `wasm.slow_call`.
pub(crate) fn key(path: &str) -> Option<&'static KeyInfo> {
    sections::key(path)
}

impl Config {
    /// Returns this configuration with other values of some keys, given as typed in a flag.
    ///
    /// # Errors
    ///
    /// Names the value that is wrong; also if the values contradict each other.
    pub(crate) fn with(&self, changes: &[(&'static KeyInfo, String)]) -> Result<Self, ConfigError> {
        let mut raw_config = RawConfig::default();
        file::parse("".as_ref(), &self.written(), &mut raw_config)?;
        for (key, value) in changes {
            let raw = if key.list {
                Raw::List(value.split(',').map(|one| one.trim().to_owned()).collect())
            } else {
                Raw::Text(value.clone())
            };
            raw_config.put(key, raw, Origin::Command);
        }
        let mut config = Self::resolve(&raw_config)?;
        config.file.clone_from(&self.file);
        Ok(config)
    }

    /// Returns this configuration with the users and the password of the file `path`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or its users are wrong.
    pub(crate) fn with_users_of(&self, path: &Path) -> Result<Self, ConfigError> {
        let mut raw_config = RawConfig::default();
        file::read(path, &mut raw_config)?;
        let read = Self::resolve(&raw_config)?;
        let mut config = self.clone();
        config.server.users = read.server.users;
        config.server.password = read.server.password;
        Ok(config)
    }

    /// Writes the configuration as a file, secrets included.
    fn written(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for (key, value) in self.settings() {
            if key.section != section {
                section = key.section;
                text.push_str(&format!("[{section}]\n"));
            }
            text.push_str(&format!("{} = {value}\n", key.name));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{CHANGEABLE, Config, can_change, key};

    fn changed(config: &Config, path: &str, value: &str) -> Result<Config, String> {
        let key = key(path).expect("a key");
        config
            .with(&[(key, value.to_owned())])
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_changeable_key_exists() {
        for path in CHANGEABLE {
            assert!(key(path).is_some_and(can_change), "{path}");
        }
        assert!(!can_change(key("server.port").expect("a key")));
    }

    #[test]
    fn a_change_keeps_everything_else() {
        let text = "[server]\npassword = \"s\\\"3\"\nidle_timeout = \"7s\"\n\
                    [wasm.security]\ndefault_permissions = \"none\"";
        let config = Config::parse("ferrite.toml".as_ref(), text).expect("right");
        let same = config.with(&[]).expect("the same");
        assert_eq!(same, config);
        let other = changed(&config, "wasm.slow_call", "1s").expect("a time");
        assert_eq!(other.wasm.slow_call.0.as_secs(), 1);
        assert_eq!(other.server, config.server);
        let error = changed(&config, "wasm.slow_call", "soon").expect_err("no time");
        assert!(
            error.contains("wasm.slow_call") && error.contains("soon"),
            "{error}"
        );
    }
}
