//! Names and forms that Redis' tools use for keys of the configuration.

use std::time::Duration;

use crate::config::Config;

/// A name of Redis for a key.
pub(crate) struct RedisName {
    pub(crate) name: &'static str,
    /// The key; `None` for a value that cannot change.
    pub(crate) key: Option<&'static str>,
    /// The reason why a value cannot change, if it is worth a word.
    pub(crate) reason: Option<&'static str>,
    /// Returns the value in the form of Redis.
    pub(crate) read: fn(&Config) -> String,
    /// Completes the sentence "it must be …" for a value that is not right.
    pub(crate) kind: &'static str,
    /// Turns a value in the form of Redis into one of the key's; `None` if it is not right.
    write: fn(&str) -> Option<String>,
}

impl RedisName {
    /// Turns a value in the form of Redis into one of the key's; `None` if it is not right.
    pub(crate) fn translate(&self, value: &str) -> Option<String> {
        (self.write)(value)
    }
}

/// Makes the row of a value that cannot change.
const fn fixed(name: &'static str, read: fn(&Config) -> String) -> RedisName {
    RedisName {
        name,
        key: None,
        reason: None,
        read,
        kind: "",
        write: |_| None,
    }
}

/// The table of names.
pub(crate) static REDIS_NAMES: [RedisName; 27] = [
    RedisName {
        name: "notify-keyspace-events",
        key: Some("server.notify_keyspace_events"),
        reason: None,
        read: |config| config.server.notify_keyspace_events.to_string(),
        kind: "",
        write: same,
    },
    RedisName {
        name: "maxclients",
        key: Some("server.max_connections"),
        reason: None,
        read: |config| config.server.max_connections.to_string(),
        kind: "",
        write: same,
    },
    RedisName {
        name: "timeout",
        key: Some("server.idle_timeout"),
        reason: None,
        read: |config| config.server.idle_timeout.0.as_secs().to_string(),
        kind: "a number of seconds, or 0 for no limit",
        write: |value| {
            value
                .parse::<u32>()
                .ok()
                .map(|seconds| format!("{seconds}s"))
        },
    },
    RedisName {
        name: "maxmemory",
        key: Some("server.max_memory"),
        reason: None,
        read: |config| config.server.max_memory.0.to_string(),
        kind: "a number of bytes such as 100mb or 1gb, or 0 for no limit",
        write: |value| bytes(value).map(|bytes| bytes.to_string()),
    },
    RedisName {
        name: "loglevel",
        key: Some("server.log"),
        reason: None,
        read: |config| level_of(&config.server.log).to_owned(),
        kind: "debug, verbose, notice, warning or nothing",
        write: |value| {
            let known = LEVELS.iter().find(|(name, _)| *name == value);
            known.map(|(_, level)| (*level).to_owned())
        },
    },
    RedisName {
        name: "slowlog-log-slower-than",
        key: Some("wasm.slow_call"),
        reason: None,
        read: |config| match config.wasm.slow_call.0 {
            Duration::ZERO => "-1".to_owned(),
            time => time.as_micros().to_string(),
        },
        kind: "a number of microseconds, 0 for every call, or -1 for none",
        write: |value| match value.parse::<i64>().ok()? {
            ..0 => Some("0s".to_owned()),
            // Everything, which takes at least a microsecond.
            0 => Some("1us".to_owned()),
            micros => Some(format!("{micros}us")),
        },
    },
    RedisName {
        name: "slowlog-max-len",
        key: Some("wasm.slow_calls_kept"),
        reason: None,
        read: |config| config.wasm.slow_calls_kept.to_string(),
        kind: "",
        write: same,
    },
    RedisName {
        name: "latency-monitor-threshold",
        key: Some("wasm.slow_call"),
        reason: None,
        read: |config| config.wasm.slow_call.0.as_millis().to_string(),
        kind: "a number of milliseconds, or 0 for none",
        write: |value| {
            value
                .parse::<u32>()
                .ok()
                .map(|millis| format!("{millis}ms"))
        },
    },
    RedisName {
        name: "appendfsync",
        key: Some("store.durability"),
        reason: None,
        read: |config| match config.store.durability {
            crate::config::Durability::Always => "always".to_owned(),
            crate::config::Durability::EverySecond => "everysec".to_owned(),
            crate::config::Durability::No => "no".to_owned(),
        },
        kind: "",
        write: same,
    },
    RedisName {
        name: "proto-max-bulk-len",
        ..fixed("", |config| config.server.max_value.0.to_string())
    },
    RedisName {
        name: "maxmemory-policy",
        reason: Some("this server evicts nothing, and refuses writes above maxmemory"),
        write: |value| (value == "noeviction").then(String::new),
        ..fixed("", |_| "noeviction".to_owned())
    },
    fixed("appendonly", |config| {
        yes_no(config.store.persistent).to_owned()
    }),
    fixed("bind", |config| config.server.bind.to_string()),
    fixed("port", |config| port(config.server.port)),
    fixed("tls-port", |config| port(config.server.tls_port)),
    fixed("dir", |config| config.server.dir.display().to_string()),
    fixed("io-threads", |config| config.server.threads.to_string()),
    fixed("save", |_| String::new()),
    fixed("databases", |_| "16".to_owned()),
    fixed("cluster-enabled", |_| "no".to_owned()),
    fixed("daemonize", |_| "no".to_owned()),
    fixed("hz", |_| "10".to_owned()),
    fixed("logfile", |_| String::new()),
    fixed("aclfile", |_| String::new()),
    fixed("replicaof", |_| String::new()),
    fixed("requirepass", |_| String::new()),
    fixed("maxmemory-samples", |_| "5".to_owned()),
];

/// Levels of Redis with ours.
const LEVELS: [(&str, &str); 5] = [
    ("debug", "debug"),
    ("verbose", "debug"),
    ("notice", "info"),
    ("warning", "warn"),
    ("nothing", "error"),
];

fn level_of(log: &str) -> &'static str {
    match log.trim() {
        "trace" | "debug" => "debug",
        "warn" => "warning",
        "error" => "nothing",
        _ => "notice",
    }
}

fn same(value: &str) -> Option<String> {
    Some(value.to_owned())
}

const fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn port(port: crate::config::Port) -> String {
    match port {
        crate::config::Port::Off => "0".to_owned(),
        crate::config::Port::Number(number) => number.to_string(),
    }
}

/// Reads a size as Redis writes it: `1k` is 1000 bytes, `1kb` is 1024.
fn bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::{REDIS_NAMES, bytes};
    use crate::config::Config;
    use crate::config::live::{can_change, key};

    #[test]
    fn sizes_are_read_as_redis_does() {
        for (text, expected) in [
            ("100", Some(100)),
            ("1k", Some(1000)),
            ("1Kb", Some(1024)),
            ("2gb", Some(2 << 30)),
            ("", None),
            ("1tb", None),
            ("-1", None),
            ("99999999999gb", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_read_can_be_set_again() {
        let config = Config::default();
        for row in &REDIS_NAMES {
            let Some(path) = row.key else { continue };
            let key = key(path).expect("a key");
            assert!(can_change(key), "{path}");
            let value = row.translate(&(row.read)(&config)).expect(row.name);
            assert_eq!(
                row.kind.is_empty(),
                row.translate("?").is_some(),
                "{}",
                row.name
            );
            let again = config.with(&[(key, value)]).expect(row.name);
            assert_eq!((row.read)(&again), (row.read)(&config), "{}", row.name);
        }
    }
}
