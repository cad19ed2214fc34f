//! The configuration's keys: the one table behind file, flags, variables, checks and documentation.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::permissions::Permissions;
use ferrite_runtime::policy::quantity::{ByteSize, Count, HumanDuration};
use ferrite_upstream::{Account, Deployment, Location};

use super::audit::Audit;
use super::error::ConfigError;
use super::functions::{DirectoryList, NetworkList};
use super::raw_config::{KeyInfo, RawConfig};
use super::setting::{Durability, EventSelection, LogFormat, Port, Secret, Setting};
use super::users::UserSpec;

/// A section as the documentation shows it.
#[derive(Debug)]
pub struct SectionInfo {
    /// Its name, such as `wasm.limits`.
    pub name: &'static str,
    /// Lines of explanation.
    pub doc: &'static [&'static str],
    /// Its keys, in the order of the documentation.
    pub keys: &'static [KeyInfo],
}

/// Declares a section: a struct with the meaning of each key, and the keys' rows in the table.
///
/// A key is `name: type = "default"`, with the default as typed in a flag.
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])+
        pub struct $Name:ident in $section:literal {
            $($(#[doc = $doc:literal])+ pub $key:ident: $Type:ty = $default:literal,)+
        }
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $Name {
            $($(#[doc = $doc])+ pub $key: $Type,)+
        }

        impl $Name {
            pub(super) const INFO: SectionInfo = SectionInfo {
                name: $section,
                doc: &[$($section_doc),+],
                keys: Self::KEYS,
            };

            const KEYS: &'static [KeyInfo] = &[$(KeyInfo {
                section: $section,
                name: stringify!($key),
                default: $default,
                kind: <$Type as Setting>::KIND,
                doc: &[$($doc),+],
                secret: <$Type as Setting>::SECRET,
                list: <$Type as Setting>::LIST,
            }),+];

            pub(super) fn resolve(raw_config: &RawConfig) -> Result<Self, ConfigError> {
                let mut keys = Self::table().keys.iter();
                let mut next = || keys.next().expect("as many keys as fields");
                Ok(Self { $($key: raw_config.resolve(next())?,)+ })
            }

            /// Each key with its value, as written in a file.
            pub(super) fn written(&self) -> Vec<(&'static KeyInfo, String)> {
                let Self { $($key),+ } = self;
                let values = [$(Setting::write($key)),+];
                Self::table().keys.iter().zip(values).collect()
            }

            /// The section's row in the table. Keys are compared by their address in it.
            fn table() -> &'static SectionInfo {
                SECTIONS
                    .iter()
                    .find(|section| section.name == $section)
                    .expect("the table lists every section")
            }
        }
    };
}

section! {
    /// The network, and the process as a whole.
    pub struct Server in "server" {
        /// Address to listen on. An address that other machines can reach needs a `password` or
        /// `users`.
        pub bind: IpAddr = "127.0.0.1",
        /// Port for plain connections; 0 takes any free one, "off" listens for none.
        pub port: Port = "6380",
        /// Port for TLS connections; needs `tls_cert` and `tls_key`.
        pub tls_port: Port = "off",
        /// File with the server's certificate chain, PEM.
        pub tls_cert: Option<PathBuf> = "",
        /// File with the certificate's private key, PEM.
        pub tls_key: Option<PathBuf> = "",
        /// File with certificates of authorities, PEM. When given, clients must show a certificate
        /// that one of them signed.
        pub tls_client_ca: Option<PathBuf> = "",
        /// Folder that relative paths are resolved against.
        pub dir: PathBuf = ".",
        /// Threads that serve connections; 0 means one for each processor.
        pub threads: usize = "0",
        /// Password of the user `default`, or its hash by `ferrite-server hash-password`. Without it, that
        /// user needs no password.
        pub password: Secret = "",
        /// Users and what they may do, each `NAME may=RIGHTS password_hash=HASH`, with a hash by
        /// `ferrite-server hash-password`, or with `password=TEXT`. RIGHTS are some of `read`, `write`, `call`,
        /// `manage` and `admin`, joined by `+`, or `all`. A command that writes and also tells or copies
        /// a value, such as `INCR`, `LPOP` or `SET` with `GET`, needs `read` and `write`. With
        /// `functions=GLOBS`, also joined by `+`, the user may only call, look at and manage functions
        /// with such names. If there are users, clients must authenticate.
        pub users: Vec<UserSpec> = "",
        /// File of users that `ACL SAVE` writes and `ACL LOAD` and the start read, with rules as in Redis.
        /// A user in it replaces one of the same name in `users`.
        pub acl_file: Option<PathBuf> = "",
        /// Most connections at the same time; further ones are refused with an error.
        pub max_connections: usize = "16384",
        /// Largest argument of a request, and so the largest value.
        pub max_value: ByteSize = "512MB",
        /// Largest request, all its arguments together.
        pub max_request: ByteSize = "768MB",
        /// Most arguments of one request.
        pub max_arguments: usize = "1048576",
        /// Memory for requests that have not wholly arrived, of all connections together. A
        /// connection that would exceed it is closed.
        pub max_request_memory: ByteSize = "1GB",
        /// Memory of the process above which commands that need more memory are refused with `OOM`; 0
        /// means no limit. Nothing is evicted.
        pub max_memory: ByteSize = "0B",
        /// A connection that sends no request for this long is closed; 0 means no limit, also for
        /// the next two keys.
        pub idle_timeout: HumanDuration = "0s",
        /// A connection that sends a part of a request and nothing more for this long is closed.
        pub stall_timeout: HumanDuration = "30s",
        /// A connection that does not read its replies for this long is closed.
        pub write_timeout: HumanDuration = "30s",
        /// Time that running calls have to finish when the server is asked to stop.
        pub shutdown_timeout: HumanDuration = "5s",
        /// Events of keys that clients are told of on channels, as in Redis: `K` on the channels of keys
        /// (`__keyspace@0__:KEY`), `E` on those of events (`__keyevent@0__:EVENT`), and the classes: `g`
        /// for any type, `$` strings, `l` lists, `s` sets, `h` hashes, `z` sorted sets, `x` expiry, `A`
        /// for all. Empty tells none. `CONFIG SET notify-keyspace-events` changes it while the server
        /// runs.
        pub notify_keyspace_events: EventSelection = "",
        /// Address that serves metrics over HTTP at `/metrics`, in Prometheus' text format.
        pub metrics_address: Option<SocketAddr> = "",
        /// Level of the log, which goes to standard error: error, warn, info, debug or trace, or a
        /// filter such as `warn,ferrite_runtime=debug`.
        pub log: String = "info",
        /// Format of log lines: text or json.
        pub log_format: LogFormat = "text",
    }
}

section! {
    /// The embedded keyspace.
    pub struct Store in "store" {
        /// Keep the data on disk. Without it, a restart loses all data.
        pub persistent: bool = "true",
        /// Folder of the data, which only this server may use.
        pub data_dir: PathBuf = "data/store",
        /// Folder of the backups that `SAVE` and `BGSAVE` make.
        pub backup_dir: PathBuf = "backup",
        /// Moment of the answer to a write: `always` answers once it is on disk; `everysec` answers
        /// at once and syncs every second; `no` answers at once and lets the system decide when to
        /// sync.
        pub durability: Durability = "everysec",
        /// Writes are refused while the disk has less free space than this.
        pub min_free_space: ByteSize = "32MB",
        /// Most bytes of writes that wait for the disk; when there are more, new writes wait.
        pub max_write_queue: ByteSize = "64MB",
    }
}

section! {
    /// An engine that holds the data instead of this server. See [upstream.md](upstream.md).
    pub struct Upstream in "upstream" {
        /// URL of a Redis-compatible engine: `redis://[USER:PASSWORD@]HOST[:PORT]`, for a cluster
        /// `redis+cluster://` with some of its nodes, separated by commas, for Sentinels
        /// `redis+sentinel://HOST:PORT,HOST:PORT/NAME`; with `rediss` in place of `redis` for TLS. Then this server keeps no data: functions run on the engine's, and all other commands are
        /// passed on to it. `server.password`, `server.users` and `[store]` have no meaning then.
        pub url: Secret = "",
        /// Clients use the engine with the credentials of the URL. Without it, each client authenticates
        /// itself, and a call has the rights of its client.
        pub share_account: bool = "false",
        /// User for the Sentinels. Without it, `sentinel_password` is that of their user `default`.
        pub sentinel_user: String = "",
        /// Password for the Sentinels, if they require one. The credentials of the URL are for the engine
        /// alone.
        pub sentinel_password: Secret = "",
        /// File with certificates of authorities, PEM, that the engine's certificate is checked with.
        /// Without it, those of the system are trusted.
        pub ca: Option<PathBuf> = "",
        /// Connections of calls for each user of the engine and database, and each node of a cluster.
        pub connections: usize = "2",
        /// Most users and databases whose calls use the engine, or one node of it, at the same time.
        pub max_accounts: usize = "1000",
        /// Longest time to connect to the engine.
        pub connect_timeout: HumanDuration = "2s",
        /// Longest time to wait for an answer to a call's request.
        pub answer_timeout: HumanDuration = "10s",
        /// Largest value that a call reads as a whole.
        pub max_value: ByteSize = "16MB",
        /// Most bytes of all values that a call reads.
        pub max_fetch: ByteSize = "64MB",
        /// Most elements of a collection that a call reads as a whole. Of a larger hash, it can read fields.
        pub max_elements: usize = "100000",
        /// Memory for values that calls keep for later calls, until the engine tells that they have changed
        /// (`CLIENT TRACKING`, with RESP3). 0 keeps none. Not with a cluster. See
        /// [upstream.md](upstream.md#kept-values).
        pub max_kept: ByteSize = "0B",
    }
}

impl Upstream {
    /// Returns true if the data is an engine's.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.url.reveal().is_empty()
    }

    /// Returns the credentials for the Sentinels.
    #[must_use]
    pub fn sentinel_account(&self) -> Account {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Account {
            user: given(&self.sentinel_user),
            password: given(self.sentinel_password.reveal()),
        }
    }

    /// Returns what is wrong with keeping values of an engine; `None` if nothing is.
    pub(super) fn kept_fault(&self, location: &Location) -> Option<&'static str> {
        let is_cluster = location.deployment == Deployment::Cluster;
        (is_cluster && self.max_kept.0 > 0).then_some(
            "upstream.max_kept does not work with a cluster, because a value is only told to have changed by the node that had its slot when it was read; remove it",
        )
    }

    /// Returns what is wrong with the credentials for the Sentinels of an engine; `None` if nothing is.
    pub(super) fn sentinel_fault(&self, location: &Location) -> Option<&'static str> {
        let Account { user, password } = self.sentinel_account();
        let has_sentinels = matches!(location.deployment, Deployment::Sentinel { .. });
        if !has_sentinels && (user.is_some() || password.is_some()) {
            return Some(
                "upstream.sentinel_user and sentinel_password are for Sentinels, and upstream.url names none; write redis+sentinel:// there",
            );
        }
        if user.is_some() && password.is_none() {
            return Some("upstream.sentinel_user needs upstream.sentinel_password");
        }
        None
    }
}

section! {
    /// WebAssembly functions.
    pub struct Wasm in "wasm" {
        /// Enable functions.
        pub enabled: bool = "true",
        /// Folder that `WASM.LOAD` may read modules from.
        pub module_dir: PathBuf = "wasm",
        /// Path of the program `ferrite-wasmc`, which compiles modules. Without it, the one beside
        /// this program or on `PATH` is used.
        pub compiler: Option<PathBuf> = "",
        /// Longest time that compiling one module may take.
        pub compile_timeout: HumanDuration = "120s",
        /// Largest source of a module.
        pub max_source: ByteSize = "64MB",
        /// Largest native code of a module.
        pub max_artifact: ByteSize = "512MB",
        /// File that lists the loaded functions. Without it, a restart forgets them.
        pub registry: Option<PathBuf> = "data/functions.json",
        /// Most functions that can be loaded.
        pub max_functions: usize = "10000",
        /// Watch the files that functions were loaded from, and reload a function when its file
        /// changes. If the new file is wrong, the function stays as it is and `WASM.ERRORS` shows
        /// the error.
        pub hot_reload: bool = "false",
        /// Isolation of functions that `WASM.LOAD` loads without their own: with `rewind` and `fresh`,
        /// a call sees nothing of earlier calls (`rewind` returns an instance to its initial state,
        /// `fresh` makes a new one); with `reuse`, it sees their memory.
        pub isolation: Isolation = "rewind",
        /// Calls that get a line in the log, with function, digest, keys, time, fuel and outcome:
        /// `off`, `errors`, `all`, or a share such as `1/100`. The lines have the target
        /// `ferrite::audit`.
        pub audit: Audit = "off",
        /// Calls and commands that take this long or longer are logged and kept for `SLOWLOG`; 0 for
        /// none.
        pub slow_call: HumanDuration = "10ms",
        /// Most slow calls and commands that are kept.
        pub slow_calls_kept: usize = "128",
    }
}

section! {
    /// Limits of a call of a function that sets none. A function can set others by `LIMITS`, up to
    /// those in `wasm.limits.max`.
    pub struct WasmLimits in "wasm.limits" {
        /// Most linear memory of one instance.
        pub max_memory: ByteSize = "16MB",
        /// Longest wall-clock time of one call.
        pub max_time: HumanDuration = "5s",
        /// Most fuel of one call: about one unit for each instruction, and more for host functions.
        pub max_fuel: Count = "10000000",
        /// Stack of one call. The engine has one size for all functions, so no other value is
        /// accepted. To limit how deep calls nest, set `max_stack_depth`.
        pub max_stack: ByteSize = "512KB",
        /// Most nested calls inside a module, the entry included. If it is set, every function is
        /// compiled with a counter, which costs some instructions for each call; without it, only
        /// functions that are loaded with a `max_stack_depth` of their own are.
        pub max_stack_depth: Option<Count> = "",
        /// Largest reply of one call.
        pub max_reply: ByteSize = "16MB",
        /// Most bytes of keys and values that one call writes.
        pub max_writes: ByteSize = "64MB",
        /// Most elements of all tables of one instance.
        pub max_table_elements: Count = "10000",
        /// Most bytes that one call writes to the log.
        pub max_log: ByteSize = "64KB",
    }
}

section! {
    /// The most that a function may ask for by `LIMITS`; more is refused when it is loaded. A limit
    /// that is not set here is never lower than the one in `wasm.limits`.
    pub struct WasmLimitsMax in "wasm.limits.max" {
        /// Most linear memory of one instance; 1GB if not set.
        pub max_memory: Option<ByteSize> = "",
        /// Longest wall-clock time of one call; 5 minutes if not set.
        pub max_time: Option<HumanDuration> = "",
        /// Most fuel of one call; 1000000000000 if not set.
        pub max_fuel: Option<Count> = "",
        /// Most nested calls inside a module; as many as the stack has room for if not set.
        pub max_stack_depth: Option<Count> = "",
        /// Largest reply of one call; 512MB if not set.
        pub max_reply: Option<ByteSize> = "",
        /// Most bytes of keys and values that one call writes; 1GB if not set.
        pub max_writes: Option<ByteSize> = "",
        /// Most elements of all tables of one instance; 100000 if not set.
        pub max_table_elements: Option<Count> = "",
        /// Most bytes that one call writes to the log; 1MB if not set.
        pub max_log: Option<ByteSize> = "",
    }
}

section! {
    /// Instances that are kept ready, and how many calls run at the same time.
    pub struct WasmPool in "wasm.pool" {
        /// Idle instances that each function always keeps.
        pub min_instances: usize = "0",
        /// Most calls of one function that run at the same time, and most idle instances that it
        /// keeps.
        pub max_instances: usize = "64",
        /// Most calls of one function that wait for others to end; further ones are refused as BUSY.
        pub max_waiting: usize = "1024",
        /// Time after which an idle instance beyond `min_instances` is dropped.
        pub idle_timeout: HumanDuration = "60s",
        /// Most instances of all functions together.
        pub total_instances: usize = "1000",
        /// Where there are several users, leaves a quarter of the calls of each function, and an eighth of
        /// all instances, to users with few running calls, so that no user keeps the others waiting.
        pub share_among_users: bool = "true",
    }
}

section! {
    /// Calls in the background, by `WASM.CALLASYNC`.
    pub struct WasmBackground in "wasm.background" {
        /// Most calls that run or wait.
        pub max_pending: usize = "1000",
        /// Most replies that are kept.
        pub max_results: usize = "10000",
        /// Most bytes of the calls' keys and arguments and of all replies together.
        pub max_memory: ByteSize = "64MB",
        /// Time that a reply is kept.
        pub keep_results: HumanDuration = "60s",
    }
}

section! {
    /// Permissions of functions, and the keys that sign them.
    pub struct WasmSecurity in "wasm.security" {
        /// Requests to other servers that functions may ask for in their own `allow_network`: a list of
        /// rules, or false for none. A rule is `https://host[:port][/path-glob]`; `*` as the host or port
        /// stands for any, `*.name` for every host below a name, and methods may come first, as in
        /// `GET,HEAD https://*.example.com/v1/*`.
        pub allow_network: NetworkList = "false",
        /// Ranges of addresses outside the public internet that such requests may go to, such as
        /// `10.1.0.0/16` or `127.0.0.1`. All other private, loopback, link-local and reserved addresses
        /// are refused, whatever the name that led to them.
        pub allow_private_network: Vec<String> = "",
        /// Directories that functions may ask for in their own `allow_filesystem`: a list of `NAME=PATH`,
        /// such as `models=/srv/models`, to read files there, and of `NAME:scratch=SIZE`, such as
        /// `tmp:scratch=16MB`, for a directory in memory that a call may write and that goes with it. One of
        /// `NAME:kept=SIZE`, such as `cache:kept=16MB`, stays for the function's later calls. False for none.
        pub allow_filesystem: DirectoryList = "false",
        /// Permissions of functions that are loaded without their own: `read-only`, `read-write`,
        /// `none`, or permissions as JSON.
        pub default_permissions: Permissions = "read-only",
        /// Keys whose signed bundles are loaded: minisign public keys, each as the text of the key
        /// or the path of its file. There can be several, so that a new key can replace an old one.
        pub trusted_keys: Vec<String> = "",
        /// Ids of keys that are no longer trusted, 16 hexadecimal digits each, even if
        /// `trusted_keys` lists them. Functions that such a key signed stop working at the next
        /// start, and their code in the cache is moved away.
        pub revoked_keys: Vec<String> = "",
        /// Load only what a trusted key signed: bundles, and digests of releases that are stored in the
        /// cache, under the name and with at most the rights that they were signed for.
        pub require_signed: bool = "false",
    }
}

section! {
    /// Requests of functions to other servers.
    pub struct WasmNetwork in "wasm.network" {
        /// Most requests of one call.
        pub max_requests: usize = "16",
        /// Most bytes of a request: method, URL, headers and body.
        pub max_request: ByteSize = "1MB",
        /// Most bytes of a response's body, after it is unpacked.
        pub max_response: ByteSize = "4MB",
        /// Longest duration of a request, redirections included. The call's `max_time` goes on meanwhile.
        pub max_time: HumanDuration = "10s",
        /// Longest duration of finding a host and connecting to it.
        pub connect_timeout: HumanDuration = "3s",
        /// Most redirections that a request follows.
        pub max_redirects: usize = "5",
        /// Most requests of all functions at the same time; others wait.
        pub max_concurrent: usize = "128",
        /// Most requests of `after_commit` that wait to be sent. With more, `after_commit` fails.
        pub max_outbox: usize = "10000",
        /// Tries of such a request before it is given up. The pause after the first is 0.2 s, and it
        /// doubles up to an hour: 16 tries take nearly two hours.
        pub outbox_tries: usize = "16",
        /// File of certificates of authorities, as PEM, that are trusted besides those of the system.
        pub ca_file: Option<PathBuf> = "",
    }
}

section! {
    /// Native code from earlier compilations.
    pub struct WasmCache in "wasm.cache" {
        /// Keep native code on disk. Without it, every function is compiled when it is loaded, and
        /// no function can be loaded by its digest.
        pub enabled: bool = "true",
        /// Folder of the cache, which only this user may use.
        pub compiled_cache_dir: PathBuf = "cache/wasm",
        /// Size of the cache. When something is added beyond it, older entries are removed, but
        /// never those that loaded functions need.
        pub max_cache_size: ByteSize = "1GB",
    }
}

/// Every section, in the order of the documentation.
static SECTIONS: [SectionInfo; 11] = [
    Server::INFO,
    Store::INFO,
    Upstream::INFO,
    Wasm::INFO,
    WasmLimits::INFO,
    WasmLimitsMax::INFO,
    WasmPool::INFO,
    WasmBackground::INFO,
    WasmSecurity::INFO,
    WasmNetwork::INFO,
    WasmCache::INFO,
];

/// Returns every section of the table.
pub fn sections() -> &'static [SectionInfo] {
    &SECTIONS
}

/// Returns every key of the table.
pub fn keys() -> impl Iterator<Item = &'static KeyInfo> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

pub(super) fn key(path: &str) -> Option<&'static KeyInfo> {
    let (section, name) = path.rsplit_once('.')?;
    keys().find(|key| key.section == section && key.name == name)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|section| section.name)
}

/// Returns true if `path` is a section or contains sections.
pub(super) fn is_section(path: &str) -> bool {
    names().any(|name| {
        name.strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}
