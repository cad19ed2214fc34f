//! Reads the module's arguments into options.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ferrite_cache::CacheOptions;
use ferrite_protocol::glob::Glob;
use ferrite_runtime::RuntimeOptions;
use ferrite_runtime::artifact::compile_worker;
use ferrite_runtime::policy::files::directory::Directory;
use ferrite_runtime::policy::limits::{LimitSettings, Limits, LimitsError};
use ferrite_runtime::policy::network::rule::NetworkRules;
use ferrite_runtime::policy::permissions::Permissions;
use ferrite_runtime::policy::quantity::{ByteSize, Count, HumanDuration};
use ferrite_runtime::policy::strict_json::nearest;

/// The module's options, resolved from its arguments.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) runtime: RuntimeOptions,
    /// The cache of compiled functions; `None` to keep nothing.
    pub(crate) cache: Option<CacheOptions>,
    /// Number of threads for long calls.
    pub(crate) threads: usize,
    /// Functions whose calls never run on the server's main thread.
    pub(crate) offload: Vec<Glob>,
    /// Time that a call may take inside a transaction or script, where it stops the server.
    pub(crate) inside_time_max: Duration,
    /// True if users share the places of functions.
    pub(crate) share_among_users: bool,
    /// Access to other servers, for missing sources.
    pub(crate) peers: Peers,
    /// Rules of the requests that functions may ask for, until all are read.
    network_rules: Vec<String>,
}

/// Access to other servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peers {
    /// True if missing sources are fetched from them.
    pub(crate) fetch: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

/// The reason why arguments are refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error("unknown argument '{name}'{}; the arguments are {}", hint(.nearest), NAMES.join(", "))]
    Unknown {
        name: String,
        nearest: Option<&'static str>,
    },
    #[error("the argument '{name}' has no value")]
    NoValue { name: &'static str },
    #[error("the argument '{name}' is given twice")]
    Twice { name: &'static str },
    #[error("the value '{value}' of the argument '{name}' is wrong: {problem}")]
    Value {
        name: &'static str,
        value: String,
        problem: String,
    },
    #[error("the limits are wrong: {problem}")]
    Limits { problem: String },
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean '{name}'?)"))
}

/// Every argument, in the order in which the documentation lists them.
pub(crate) const NAMES: &[&str] = &[
    "cache-dir",
    "max-cache-size",
    "module-dir",
    "compiler",
    "compile-timeout",
    "isolation",
    "default-permissions",
    "trusted-key",
    "revoked-key",
    "require-signed",
    "allow-filesystem",
    "allow-network",
    "allow-private-network",
    "max-requests",
    "max-request",
    "max-response",
    "request-timeout",
    "max-outbox",
    "outbox-tries",
    "ca-file",
    "max-memory",
    "max-time",
    "max-fuel",
    "max-stack",
    "max-stack-depth",
    "max-reply",
    "max-writes",
    "max-table-elements",
    "max-log",
    "allow-max-memory",
    "allow-max-time",
    "allow-max-fuel",
    "allow-max-stack-depth",
    "allow-max-reply",
    "allow-max-writes",
    "allow-max-table-elements",
    "allow-max-log",
    "max-functions",
    "total-instances",
    "max-instances",
    "min-instances",
    "max-waiting",
    "idle-timeout",
    "share-among-users",
    "threads",
    "offload",
    "max-time-inside",
    "fetch-from-peers",
    "peer-user",
    "peer-password",
];

/// Arguments that may be given more than once.
const REPEATED: &[&str] = &[
    "allow-filesystem",
    "allow-network",
    "allow-private-network",
    "offload",
    "revoked-key",
    "trusted-key",
];

/// Longest file of certificates that is read, in bytes.
const CA_FILE_BYTES_MAX: u64 = 4 << 20;

const CACHE_BYTES_MAX: u64 = 4 << 30;
const THREADS: usize = 4;
const INSIDE_TIME_MAX: Duration = Duration::from_millis(200);

impl Options {
    /// Reads the arguments: names, with or without two dashes, each followed by a value. Relative
    /// paths are below `dir`.
    ///
    /// # Errors
    ///
    /// If an argument is unknown, given twice, without a value, or has a wrong value.
    pub(crate) fn read(arguments: &[String], dir: &Path) -> Result<Self, OptionsError> {
        let mut options = Self {
            runtime: RuntimeOptions {
                outbox: true,
                ..RuntimeOptions::default()
            },
            cache: Some(CacheOptions {
                root: dir.join("ferrite-cache"),
                size_bytes_max: CACHE_BYTES_MAX,
            }),
            threads: THREADS,
            offload: Vec::new(),
            inside_time_max: INSIDE_TIME_MAX,
            share_among_users: true,
            peers: Peers {
                fetch: true,
                user: None,
                password: None,
            },
            network_rules: Vec::new(),
        };
        let (mut limits, mut limits_max) = (LimitSettings::default(), LimitSettings::default());
        let mut seen: Vec<&str> = Vec::new();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let plain = word.strip_prefix("--").unwrap_or(word).to_ascii_lowercase();
            let name = NAMES.iter().copied().find(|name| *name == plain);
            let name = name.ok_or_else(|| OptionsError::Unknown {
                name: word.clone(),
                nearest: nearest(&plain, NAMES.iter().copied()),
            })?;
            let value = words.next().ok_or(OptionsError::NoValue { name })?;
            if seen.contains(&name) && !REPEATED.contains(&name) {
                return Err(OptionsError::Twice { name });
            }
            seen.push(name);
            options.set(name, value, dir, &mut limits, &mut limits_max)?;
        }
        options.finish(&limits, &limits_max)
    }

    fn set(
        &mut self,
        name: &'static str,
        value: &str,
        dir: &Path,
        limits: &mut LimitSettings,
        limits_max: &mut LimitSettings,
    ) -> Result<(), OptionsError> {
        let wrong = |problem: &dyn std::fmt::Display| OptionsError::Value {
            name,
            value: value.to_owned(),
            problem: problem.to_string(),
        };
        let size = || ByteSize::from_str(value).map_err(|error| wrong(&error));
        let span = || HumanDuration::from_str(value).map_err(|error| wrong(&error));
        let count = || Count::from_str(value).map_err(|error| wrong(&error));
        let number = || {
            let Count(number) = count()?;
            usize::try_from(number).map_err(|error| wrong(&error))
        };
        let path = || -> PathBuf { dir.join(value) };
        let (limits, limit) = match name.strip_prefix("allow-") {
            Some(limit) => (limits_max, limit),
            None => (limits, name),
        };
        if let Some(set) = limits.set(&limit.replace('-', "_"), value) {
            return set.map_err(|error| wrong(&error));
        }
        let runtime = &mut self.runtime;
        match name {
            "cache-dir" if value.eq_ignore_ascii_case("none") => self.cache = None,
            "cache-dir" => {
                if let Some(cache) = &mut self.cache {
                    cache.root = path();
                }
            }
            "max-cache-size" => {
                let ByteSize(bytes) = size()?;
                if let Some(cache) = &mut self.cache {
                    cache.size_bytes_max = bytes;
                }
            }
            "module-dir" => runtime.source.module_dir = Some(path()),
            "compiler" => {
                let found = compile_worker::find(Some(&path())).map_err(|error| wrong(&error))?;
                runtime.worker.program = Some(found);
            }
            "compile-timeout" => runtime.worker.time_max = span()?.0,
            "isolation" => runtime.isolation = value.parse().map_err(|error| wrong(&error))?,
            "default-permissions" => {
                runtime.permissions = match Permissions::named(value) {
                    Some(named) => named,
                    None => {
                        Permissions::from_json(value.as_bytes()).map_err(|error| wrong(&error))?
                    }
                };
            }
            "trusted-key" => {
                let trusted = runtime.trust.trust_key(value, dir);
                trusted.map_err(|error| wrong(&error))?;
            }
            "revoked-key" => {
                let revoked = runtime.trust.revoke_key(value);
                revoked.map_err(|error| wrong(&error))?;
            }
            "require-signed" => {
                runtime.trust.require_signed = yes_or_no(value).map_err(|error| wrong(&error))?;
            }
            "allow-filesystem" => {
                let directory: Directory = value.parse().map_err(|error| wrong(&error))?;
                if runtime
                    .directories
                    .iter()
                    .any(|one| one.name() == directory.name())
                {
                    return Err(wrong(&"another directory has this name"));
                }
                runtime.directories.push(directory.below(dir));
            }
            "allow-network" => self.network_rules.push(value.to_owned()),
            "allow-private-network" => {
                let range = value.parse().map_err(|error| wrong(&error))?;
                runtime.network.private_ranges.push(range);
            }
            "max-requests" => {
                runtime.network.limits.requests_max =
                    u32::try_from(number()?).map_err(|error| wrong(&error))?;
            }
            "max-request" => runtime.network.limits.request_bytes_max = size()?.0,
            "max-response" => runtime.network.limits.response_bytes_max = size()?.0,
            "request-timeout" => runtime.network.limits.time_max = span()?.0,
            "max-outbox" => runtime.network.limits.outbox_max = number()?,
            "outbox-tries" => {
                let tries = u32::try_from(number()?).map_err(|error| wrong(&error))?;
                if tries == 0 {
                    return Err(wrong(&"it must be at least 1"));
                }
                runtime.network.limits.outbox_tries_max = tries;
            }
            "ca-file" => {
                let read = std::fs::File::open(path()).and_then(|file| {
                    let roots = &mut runtime.network.extra_roots;
                    file.take(CA_FILE_BYTES_MAX).read_to_end(roots)
                });
                read.map_err(|error| wrong(&error))?;
            }
            "max-functions" => runtime.functions_max = number()?,
            "total-instances" => {
                runtime.engine.instances_max =
                    u32::try_from(number()?).map_err(|error| wrong(&error))?;
            }
            "max-instances" => runtime.pool.instances_max = number()?,
            "min-instances" => runtime.pool.instances_min = number()?,
            "max-waiting" => runtime.pool.waiting_max = number()?,
            "idle-timeout" => runtime.pool.idle_timeout = span()?.0,
            "share-among-users" => {
                self.share_among_users = yes_or_no(value).map_err(|error| wrong(&error))?;
            }
            "threads" => self.threads = number()?,
            "offload" => {
                let glob = Glob::parse(value.as_bytes()).map_err(|error| wrong(&error))?;
                self.offload.push(glob);
            }
            "max-time-inside" => self.inside_time_max = span()?.0,
            "fetch-from-peers" => {
                self.peers.fetch = yes_or_no(value).map_err(|error| wrong(&error))?;
            }
            "peer-user" => self.peers.user = Some(value.to_owned()),
            "peer-password" => self.peers.password = Some(value.to_owned()),
            // Every name in the table has its arm.
            _ => return Err(wrong(&"it is not implemented")),
        }
        Ok(())
    }

    fn finish(
        mut self,
        limits: &LimitSettings,
        limits_max: &LimitSettings,
    ) -> Result<Self, OptionsError> {
        let wrong = |error: LimitsError| OptionsError::Limits {
            problem: error.to_string(),
        };
        let limits = Limits::DEFAULT.for_server(limits).map_err(wrong)?;
        let limits_max = limits.most(limits_max).map_err(wrong)?;
        self.runtime = self.runtime.with_limits(limits, limits_max);
        let runtime = &mut self.runtime;
        runtime.network.rules =
            NetworkRules::parse(&self.network_rules).map_err(|(rule, error)| {
                OptionsError::Value {
                    name: "allow-network",
                    value: rule.into(),
                    problem: error.to_string(),
                }
            })?;
        if runtime.trust.refuses_everything() {
            return Err(OptionsError::Value {
                name: "require-signed",
                value: "yes".to_owned(),
                problem: "without a trusted-key nothing could be loaded".to_owned(),
            });
        }
        runtime.pool.instances_min = runtime.pool.instances_min.min(runtime.pool.instances_max);
        for (name, value) in [
            ("max-instances", runtime.pool.instances_max),
            ("total-instances", runtime.engine.instances_max as usize),
            ("threads", self.threads),
        ] {
            if value == 0 {
                return Err(OptionsError::Value {
                    name,
                    value: "0".to_owned(),
                    problem: "at least 1 is needed".to_owned(),
                });
            }
        }
        Ok(self)
    }
}

fn yes_or_no(value: &str) -> Result<bool, &'static str> {
    match value.to_ascii_lowercase().as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("it is yes or no"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{Limits, NAMES, Options, OptionsError};

    fn read(line: &str) -> Result<Options, OptionsError> {
        let words: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        Options::read(&words, Path::new("/data"))
    }

    #[test]
    fn the_defaults_need_no_argument() {
        let options = read("").expect("nothing is wrong with nothing");
        let cache = options.cache.expect("there is a cache");
        assert_eq!(cache.root, Path::new("/data/ferrite-cache"));
        assert_eq!(options.threads, 4);
        assert!(options.peers.fetch && options.offload.is_empty());
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        let options = read(
            "cache-dir /cache --module-dir modules MAX-TIME 2s max-memory 32MB threads 2 offload report_* offload slow isolation reuse",
        )
        .expect("all of it is right");
        assert_eq!(options.cache.expect("it is on").root, Path::new("/cache"));
        let source = options.runtime.source;
        assert_eq!(
            source.module_dir.as_deref(),
            Some(Path::new("/data/modules"))
        );
        assert_eq!(options.runtime.limits.time_max, Duration::from_secs(2));
        assert_eq!(options.runtime.limits.memory_bytes_max, 32 << 20);
        assert_eq!(options.runtime.limits_max, Limits::GENEROUS);
        assert_eq!((options.threads, options.offload.len()), (2, 2));
        assert!(
            read("cache-dir none")
                .expect("it may be off")
                .cache
                .is_none()
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("cachedir x", "did you mean 'cache-dir'?"),
            ("threads", "'threads' has no value"),
            ("threads 1 threads 2", "'threads' is given twice"),
            ("threads 0", "at least 1"),
            ("max-time soon", "'soon' of the argument 'max-time'"),
            ("max-stack 1GB", "limits are wrong"),
            ("max-stack-depth 0", "limits are wrong"),
            (
                "compiler /nonexistent/ferrite-wasmc",
                "no program that can be run",
            ),
            ("fetch-from-peers maybe", "yes or no"),
            ("share-among-users some", "yes or no"),
            ("require-signed yes", "nothing could be loaded"),
            (
                "trusted-key missing.pub",
                "\"missing.pub\" is neither a minisign public key",
            ),
            ("revoked-key 12", "16 hexadecimal digits"),
            ("allow-filesystem /srv", "is not NAME=PATH"),
            (
                "allow-filesystem a=/x allow-filesystem a=/y",
                "another directory has this name",
            ),
            ("allow-network *", "it does not begin with https://"),
            ("allow-private-network 10.0.0.1/8", "the range begins at"),
            ("outbox-tries 0", "at least 1"),
            ("ca-file /nonexistent/ca.pem", "'ca-file' is wrong"),
            ("default-permissions {}x", "'default-permissions' is wrong"),
        ] {
            let error = read(line).expect_err(line).to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn every_argument_has_a_meaning() {
        for name in NAMES {
            let tried = [
                "RWQBAAAAAAAAgAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
                "8000000000000001",
                "no",
                "1",
                "1s",
                "reuse",
                "yes",
                "*",
                "read-only",
                "64KB",
                "512KB",
                "5MB",
                "1GB",
                "10m",
                "1000000000",
                "50000",
                "/bin/sh",
                "https://example.com/*",
                "10.0.0.0/8",
                "models=/srv/models",
            ];
            let taken = tried
                .iter()
                .any(|value| read(&format!("{name} {value}")).is_ok());
            assert!(taken, "{name}");
        }
    }
}
