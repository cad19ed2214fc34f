//! The place of an engine, as a URL names it.

use std::fmt;
use std::str::FromStr;

use crate::account::Account;

/// Port of a URL that names none.
const PORT: u16 = 6379;

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

/// An engine, as `upstream.url` names it: `redis[s]://[USER:PASSWORD@]HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Its address.
    pub address: Address,
    /// True if it is reached through TLS.
    pub tls: bool,
    /// Credentials of the URL.
    pub account: Account,
}

/// Reason why a text is not the URL of an engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Another scheme.
    #[error("it must begin with redis:// or rediss://")]
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
    /// A `%` without two hexadecimal digits.
    #[error(
        "its user or password has a % that is not followed by two hexadecimal digits; write %25"
    )]
    Escape,
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let (tls, rest) = match text.split_once("://") {
            Some(("redis" | "valkey", rest)) => (false, rest),
            Some(("rediss" | "valkeys", rest)) => (true, rest),
            _ => return Err(LocationError::Scheme),
        };
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        if place.contains(['/', '?', '#']) {
            return Err(LocationError::Path);
        }
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
            None => PORT,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(LocationError::Port(port.to_owned())),
            },
        };
        Ok(Self {
            address: Address {
                host: host.to_owned(),
                port,
            },
            tls,
            account,
        })
    }
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
    use super::{Account, Location, LocationError};

    #[test]
    fn urls_are_read() {
        let of = |text: &str| text.parse::<Location>();
        let plain = of("redis://localhost").unwrap();
        assert_eq!(plain.address.to_string(), "localhost:6379");
        assert!(!plain.tls);
        assert_eq!(plain.account, Account::default());
        let full = of("rediss://al%40ice:p%3Aw@[::1]:7000/").unwrap();
        assert!(full.tls);
        assert_eq!(full.address.to_string(), "[::1]:7000");
        assert_eq!(full.account.user.as_deref(), Some("al@ice"));
        assert_eq!(full.account.password.as_deref(), Some("p:w"));
        let secret = of("redis://:secret@h:1").unwrap().account;
        assert_eq!(secret.auth().unwrap(), ["AUTH", "secret"]);
        assert!(!format!("{secret:?}").contains("secret"));
        for (text, error) in [
            ("localhost:6379", LocationError::Scheme),
            ("http://localhost", LocationError::Scheme),
            ("redis://", LocationError::Host),
            ("redis://:6379", LocationError::Host),
            ("redis://[::1", LocationError::Host),
            ("redis://h:0", LocationError::Port("0".to_owned())),
            ("redis://h:70000", LocationError::Port("70000".to_owned())),
            ("redis://h/3", LocationError::Path),
            ("redis://a:b%4@h", LocationError::Escape),
        ] {
            assert_eq!(of(text), Err(error), "{text}");
        }
    }
}
