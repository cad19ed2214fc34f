//! The configuration's keys: the one table behind file, flags, variables, checks and documentation.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::permissions::Permissions;
use ferrite_runtime::policy::quantity::{ByteSize, Count, HumanDuration};

use super::audit::Audit;
use super::error::ConfigError;
use super::setting::{Durability, LogFormat, Port, Secret, Setting};
use super::typed::{KeyInfo, Typed};
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

/// Declares a section: a struct of what its keys mean, and their place in the table.
///
/// A key is `name: type = "default"`, the default as a person would type it in a flag.
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

            pub(super) fn resolve(typed: &Typed) -> Result<Self, ConfigError> {
                let mut keys = Self::table().keys.iter();
                let mut next = || keys.next().expect("as many keys as fields");
                Ok(Self { $($key: typed.resolve(next())?,)+ })
            }

            /// Each key with its value, as a file would have it.
            pub(super) fn written(&self) -> Vec<(&'static KeyInfo, String)> {
                let Self { $($key),+ } = self;
                let values = [$(Setting::write($key)),+];
                Self::table().keys.iter().zip(values).collect()
            }

            /// The section's entry of the table; there the keys have their identity.
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
        /// Address to listen on. An address other than this machine's own needs a `password` or
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
        /// Folder that all relative paths start from.
        pub dir: PathBuf = ".",
        /// Threads that serve connections; 0 takes one for each processor.
        pub threads: usize = "0",
        /// Password of the user `default`; without it that user needs none.
        pub password: Secret = "",
        /// Users and what they may do, each `NAME may=RIGHTS password=TEXT`, or
        /// `password_blake3=HEX` instead of the password. RIGHTS are some of `read`, `write`, `call`,
        /// `manage` and `admin`, joined by `+`, or `all`. With `functions=GLOBS`, also joined by
        /// `+`, the user may only call functions of such names. Once there are users, connections
        /// must say who they are.
        pub users: Vec<UserSpec> = "",
        /// Connections at once; further ones are refused with an error.
        pub max_connections: usize = "16384",
        /// Largest argument of a request, and so the largest value.
        pub max_value: ByteSize = "512MB",
        /// Largest request, all its arguments together.
        pub max_request: ByteSize = "768MB",
        /// Arguments of one request.
        pub max_arguments: usize = "1048576",
        /// Memory for requests that have begun to arrive, of all connections together. Connections
        /// that would need more are closed.
        pub max_request_memory: ByteSize = "1GB",
        /// A connection without any request for so long is closed; 0 keeps it for good, here and
        /// for the next two.
        pub idle_timeout: HumanDuration = "0s",
        /// A connection whose request has begun and does not go on for so long is closed.
        pub stall_timeout: HumanDuration = "30s",
        /// A connection that does not take its replies for so long is closed.
        pub write_timeout: HumanDuration = "30s",
        /// How long running calls may go on once the server was told to stop.
        pub shutdown_timeout: HumanDuration = "5s",
        /// Address to serve metrics from, over HTTP at `/metrics`, in Prometheus' text format.
        pub metrics_address: Option<SocketAddr> = "",
        /// What is logged, to standard error: error, warn, info, debug or trace, or a filter such as
        /// `warn,ferrite_runtime=debug`.
        pub log: String = "info",
        /// How log lines look: text or json.
        pub log_format: LogFormat = "text",
    }
}

section! {
    /// The embedded keyspace.
    pub struct Store in "store" {
        /// Whether data is kept on disk. Without it, a restart forgets everything.
        pub persistent: bool = "true",
        /// Folder of the data, for this server alone.
        pub data_dir: PathBuf = "data/store",
        /// When a write counts as done: `always` answers once it is on disk, `everysec` at once and
        /// syncs every second, `no` leaves it to the system when to sync.
        pub durability: Durability = "everysec",
        /// Writes are refused while the disk has less free space than this.
        pub min_free_space: ByteSize = "32MB",
        /// Writes that wait for the disk, all together; when there are more, writers wait too.
        pub max_write_queue: ByteSize = "64MB",
    }
}

section! {
    /// WebAssembly functions.
    pub struct Wasm in "wasm" {
        /// Whether there are functions at all.
        pub enabled: bool = "true",
        /// Folder that `WASM.LOAD` may read modules from.
        pub module_dir: PathBuf = "wasm",
        /// The `ferrite-wasmc` program, which compiles modules that are not compiled yet. Without it,
        /// the one beside this program or on `PATH` is used.
        pub compiler: Option<PathBuf> = "",
        /// How long the compilation of one module may take.
        pub compile_timeout: HumanDuration = "120s",
        /// Largest source of a module.
        pub max_source: ByteSize = "64MB",
        /// Largest native code of a module.
        pub max_artifact: ByteSize = "512MB",
        /// File that remembers which functions are loaded; without it, a restart forgets them.
        pub registry: Option<PathBuf> = "data/functions.json",
        /// How many functions there may be.
        pub max_functions: usize = "10000",
        /// Whether files are watched that functions were loaded from: one that changes reloads its
        /// function. A file that is wrong leaves the function as it is, and its error in
        /// `WASM.ERRORS`.
        pub hot_reload: bool = "false",
        /// What calls of one function see of each other, where `WASM.LOAD` does not say:
        /// nothing (`rewind`, which puts instances back to their first state, and `fresh`, which makes
        /// new ones), or the memory of earlier calls (`reuse`).
        pub isolation: Isolation = "rewind",
        /// Which calls get a line in the log, with function, digest, keys, time, fuel and outcome:
        /// `off`, `errors`, `all`, or a share such as `1/100`. The lines have the target
        /// `ferrite::audit`.
        pub audit: Audit = "off",
        /// Calls that take longer are logged and kept for `SLOWLOG`; 0 for none.
        pub slow_call: HumanDuration = "10ms",
        /// How many of them are kept.
        pub slow_calls_kept: usize = "128",
    }
}

section! {
    /// What a call may use. A function can ask for less by `LIMITS`, never for more.
    pub struct WasmLimits in "wasm.limits" {
        /// Linear memory of one instance.
        pub max_memory: ByteSize = "16MB",
        /// Wall-clock time of one call.
        pub max_time: HumanDuration = "5s",
        /// Fuel of one call: about one unit an instruction, and more for what the host does.
        pub max_fuel: Count = "10000000",
        /// Stack of one call. The engine has one figure for all functions, so no other is taken;
        /// `max_stack_depth` bounds how deep calls nest.
        pub max_stack: ByteSize = "512KB",
        /// How deep calls may nest: functions of a module that call others of it and run at once, the
        /// entry included. Where it is set, every function is compiled to count them, which costs
        /// some instructions a call; without it, only those that are loaded with a
        /// `max_stack_depth` of their own are.
        pub max_stack_depth: Option<Count> = "",
        /// Reply of one call.
        pub max_reply: ByteSize = "16MB",
        /// Keys and values that one call writes.
        pub max_writes: ByteSize = "64MB",
        /// Elements of all tables of one instance.
        pub max_table_elements: Count = "10000",
        /// What one call writes to the log.
        pub max_log: ByteSize = "64KB",
    }
}

section! {
    /// Instances that are kept ready, and calls at once.
    pub struct WasmPool in "wasm.pool" {
        /// Idle instances that each function keeps however long they are idle.
        pub min_instances: usize = "0",
        /// Calls of one function at once, and idle instances that it keeps.
        pub max_instances: usize = "64",
        /// Calls of one function that may wait for others to end; further ones are refused as BUSY.
        pub max_waiting: usize = "1024",
        /// How long an instance beyond `min_instances` may be idle.
        pub idle_timeout: HumanDuration = "60s",
        /// Instances of all functions together.
        pub total_instances: usize = "1000",
    }
}

section! {
    /// Calls in the background, by `WASM.CALLASYNC`.
    pub struct WasmBackground in "wasm.background" {
        /// Calls that run or wait.
        pub max_pending: usize = "1000",
        /// Replies that are kept.
        pub max_results: usize = "10000",
        /// Keys and arguments of calls, and all replies, together.
        pub max_memory: ByteSize = "64MB",
        /// How long a reply is kept.
        pub keep_results: HumanDuration = "60s",
    }
}

section! {
    /// What functions may do to the data and to the world.
    pub struct WasmSecurity in "wasm.security" {
        /// Whether functions may use the network. Nothing implements it, so it stays false.
        pub allow_network: bool = "false",
        /// Whether functions may use files. Nothing implements it, so it stays false.
        pub allow_filesystem: bool = "false",
        /// Permissions of functions that are loaded without any: `read-only`, `read-write`, `none`, or
        /// permissions as JSON.
        pub default_permissions: Permissions = "read-only",
        /// Whose bundles are loaded: minisign public keys, each the text of the key or the path of
        /// its file. Several may be trusted at once, so that a new key can take over from an old one.
        pub trusted_keys: Vec<String> = "",
        /// Ids of keys that are trusted no more, 16 hexadecimal digits each, even where they stand
        /// among `trusted_keys`. Functions that such a key signed stop working at the next start,
        /// and its code in the cache is moved away.
        pub revoked_keys: Vec<String> = "",
        /// Whether nothing is loaded but bundles that a trusted key signed, and code in the cache
        /// that was imported from such bundles.
        pub require_signed: bool = "false",
    }
}

section! {
    /// Native code that was made before.
    pub struct WasmCache in "wasm.cache" {
        /// Whether native code is kept on disk. Without it every function is compiled when it is
        /// loaded, and none can be loaded by its digest.
        pub enabled: bool = "true",
        /// Folder of the cache, for this user alone.
        pub compiled_cache_dir: PathBuf = "cache/wasm",
        /// Size that the cache is brought down to when something is added. What loaded functions
        /// need is never removed.
        pub max_cache_size: ByteSize = "1GB",
    }
}

/// Every section, in the order of the documentation.
static SECTIONS: [SectionInfo; 8] = [
    Server::INFO,
    Store::INFO,
    Wasm::INFO,
    WasmLimits::INFO,
    WasmPool::INFO,
    WasmBackground::INFO,
    WasmSecurity::INFO,
    WasmCache::INFO,
];

/// Every section of the table.
pub fn sections() -> &'static [SectionInfo] {
    &SECTIONS
}

/// Every key of the table.
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

/// Whether `path` is a section, or holds sections.
pub(super) fn is_section(path: &str) -> bool {
    names().any(|name| {
        name.strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}
