//! The place of an engine, as a URL names it.

use std::fmt;
use std::str::FromStr;

use crate::account::Account;

/// Port of a URL that names none.
const PORT: u16 = 6379;

/// Port of a Sentinel for which a URL names none.
const SENTINEL_PORT: u16 = 26379;

/// The address of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

/// The kind of an engine: how the server that has a key is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// One server, or a service that hides its nodes behind one address.
    Single,
    /// The nodes of a cluster share the keys.
    Cluster,
    /// Sentinels know which server is the primary.
    Sentinel {
        /// The name that they have for it.
        primary: String,
    },
}

/// An engine, as `upstream.url` names it: `redis[s][+cluster|+sentinel]://[USER:PASSWORD@]HOST[:PORT]`,
/// with further hosts after commas, and for Sentinels `/NAME` of the primary at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The server; some nodes of the cluster; the Sentinels. At least one.
    pub addresses: Vec<Address>,
    /// The way to find the server that has a key.
    pub deployment: Deployment,
    /// True if it is reached through TLS.
    pub tls: bool,
    /// Credentials of the URL.
    pub account: Account,
}

/// Reason why a text is not the URL of an engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Another scheme.
    #[error(
        "it must begin with redis:// or rediss://, for a cluster with redis+cluster:// and for Sentinels with redis+sentinel:// (rediss+… for TLS)"
    )]
    Scheme,
    /// No host.
    #[error("it names no host")]
    Host,
    /// A port that is none.
    #[error("\"{0}\" is not a port")]
    Port(String),
    /// A path or options.
    #[error("nothing may follow the port; clients choose a database by SELECT")]
    Path,
    /// Several hosts of a single server.
    #[error(
        "it names several hosts; write redis+cluster:// for a cluster, or redis+sentinel:// for Sentinels"
    )]
    Hosts,
    /// Sentinels without the name of the primary.
    #[error(
        "the name of the primary must follow the Sentinels, as in redis+sentinel://HOST:26379/mymaster"
    )]
    Primary,
    /// A `%` without two hexadecimal digits.
    #[error(
        "its user or password has a % that is not followed by two hexadecimal digits; write %25"
    )]
    Escape,
}

impl Location {
    /// Returns the addresses, separated by commas.
    #[must_use]
    pub fn places(&self) -> String {
        let places: Vec<String> = self.addresses.iter().map(Address::to_string).collect();
        places.join(",")
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let (scheme, rest) = text.split_once("://").ok_or(LocationError::Scheme)?;
        let (scheme, kind) = match scheme.split_once('+') {
            Some((scheme, kind)) => (scheme, Some(kind)),
            None => (scheme, None),
        };
        let tls = match scheme {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(LocationError::Scheme),
        };
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        let account = match credentials {
            None => Account::default(),
            Some(credentials) => {
                let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
                let some = |text: &str| match text {
                    "" => Ok(None),
                    text => unescape(text).map(Some),
                };
                Account {
                    user: some(user)?,
                    password: some(password)?,
                }
            }
        };
        let (hosts, path) = match place.split_once('/') {
            Some((hosts, path)) => (hosts, path),
            None => (place, ""),
        };
        if hosts.contains(['?', '#']) || path.contains(['/', '?', '#']) {
            return Err(LocationError::Path);
        }
        let (deployment, port) = match kind {
            None if path.is_empty() => (Deployment::Single, PORT),
            Some("cluster") if path.is_empty() => (Deployment::Cluster, PORT),
            None | Some("cluster") => return Err(LocationError::Path),
            Some("sentinel") if path.is_empty() => return Err(LocationError::Primary),
            Some("sentinel") => {
                let primary = unescape(path)?;
                (Deployment::Sentinel { primary }, SENTINEL_PORT)
            }
            Some(_) => return Err(LocationError::Scheme),
        };
        let addresses = hosts
            .split(',')
            .map(|host| address(host, port))
            .collect::<Result<Vec<_>, _>>()?;
        if addresses.len() > 1 && deployment == Deployment::Single {
            return Err(LocationError::Hosts);
        }
        Ok(Self {
            addresses,
            deployment,
            tls,
            account,
        })
    }
}

/// Reads `HOST[:PORT]`.
fn address(place: &str, port_default: u16) -> Result<Address, LocationError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(LocationError::Host)?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(LocationError::Host),
            }
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err(LocationError::Host);
    }
    let port = match port {
        None => port_default,
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(LocationError::Port(port.to_owned())),
        },
    };
    Ok(Address {
        host: host.to_owned(),
        port,
    })
}

/// Replaces `%XX` by the byte that it stands for.
fn unescape(text: &str) -> Result<String, LocationError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>().ok_or(LocationError::Escape)?;
        let digits = std::str::from_utf8(digits).map_err(|_| LocationError::Escape)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| LocationError::Escape)?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| LocationError::Escape)
}

#[cfg(test)]
mod tests {
    use super::{Account, Deployment, Location, LocationError};

    fn of(text: &str) -> Result<Location, LocationError> {
        text.parse()
    }

    #[test]
    fn urls_are_read() {
        let plain = of("redis://localhost").unwrap();
        assert_eq!(plain.places(), "localhost:6379");
        assert!(!plain.tls);
        assert_eq!(plain.account, Account::default());
        let full = of("rediss://al%40ice:p%3Aw@[::1]:7000/").unwrap();
        assert!(full.tls);
        assert_eq!(full.places(), "[::1]:7000");
        assert_eq!(full.account.user.as_deref(), Some("al@ice"));
        assert_eq!(full.account.password.as_deref(), Some("p:w"));
        let secret = of("redis://:secret@h:1").unwrap().account;
        assert_eq!(secret.auth().unwrap(), ["AUTH", "secret"]);
        assert!(!format!("{secret:?}").contains("secret"));
    }

    #[test]
    fn clusters_and_sentinels_have_several_hosts() {
        let cluster = of("rediss+cluster://:pw@a,[::1]:7000,c:1").unwrap();
        assert!(cluster.tls);
        assert_eq!(cluster.deployment, Deployment::Cluster);
        assert_eq!(cluster.places(), "a:6379,[::1]:7000,c:1");
        assert_eq!(cluster.account.password.as_deref(), Some("pw"));
        let sentinel = of("redis+sentinel://a,b:5000/my%20master").unwrap();
        assert_eq!(
            sentinel.deployment,
            Deployment::Sentinel {
                primary: "my master".to_owned()
            }
        );
        assert_eq!(sentinel.places(), "a:26379,b:5000");
    }

    #[test]
    fn wrong_urls_are_refused() {
        for (text, error) in [
            ("localhost:6379", LocationError::Scheme),
            ("http://localhost", LocationError::Scheme),
            ("redis+other://localhost", LocationError::Scheme),
            ("redis://", LocationError::Host),
            ("redis://:6379", LocationError::Host),
            ("redis://[::1", LocationError::Host),
            ("redis+cluster://a,,b", LocationError::Host),
            ("redis://h:0", LocationError::Port("0".to_owned())),
            ("redis://h:70000", LocationError::Port("70000".to_owned())),
            ("redis://h/3", LocationError::Path),
            ("redis+cluster://h/3", LocationError::Path),
            ("redis+sentinel://h/a/b", LocationError::Path),
            ("redis://a,b", LocationError::Hosts),
            ("redis+sentinel://a,b", LocationError::Primary),
            ("redis+sentinel://a/", LocationError::Primary),
            ("redis://a:b%4@h", LocationError::Escape),
        ] {
            assert_eq!(of(text), Err(error), "{text}");
        }
    }
}
