//! The configuration's keys: the one table behind file, flags, variables, checks and documentation.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::error::ConfigError;
use super::setting::{LogFormat, Port, Secret, Setting};
use super::typed::{KeyInfo, Typed};
use super::units::{Bytes, Span};

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
        /// `password_blake3=HEX` instead of the password, and optionally `functions=GLOBS`. RIGHTS
        /// are some of read, write, call, manage and admin, joined by `+`; so are globs.
        pub users: Vec<String> = "",
        /// Connections at once; further ones are refused with an error.
        pub max_connections: usize = "16384",
        /// Largest request, all its arguments together.
        pub max_request: Bytes = "520MB",
        /// Arguments of one request.
        pub max_arguments: usize = "1048576",
        /// Memory for requests that have begun to arrive, of all connections together. Connections
        /// that would need more are closed.
        pub max_request_memory: Bytes = "1GB",
        /// A connection without any request for so long is closed; 0 keeps it.
        pub idle_timeout: Span = "0s",
        /// A connection whose request has begun and does not go on for so long is closed.
        pub stall_timeout: Span = "30s",
        /// A connection that does not take its replies for so long is closed.
        pub write_timeout: Span = "30s",
        /// How long running calls may go on once the server was told to stop.
        pub shutdown_timeout: Span = "5s",
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
        /// Folder of the data.
        pub data_dir: PathBuf = "data",
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
    }
}

/// Every section, in the order of the documentation.
static SECTIONS: [SectionInfo; 3] = [Server::INFO, Store::INFO, Wasm::INFO];

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
        name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}
