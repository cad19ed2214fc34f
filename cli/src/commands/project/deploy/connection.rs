//! A connection to a server, one command at a time.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::reply::{self, Value};
use crate::terminal::console::UsageError;

/// The environment variable that holds the password for the server.
pub(super) const PASSWORD_VARIABLE: &str = "FERRITE_DEPLOY_PASSWORD";

/// Port of a server if the address names none.
const PORT: u16 = 6380;

/// The longest waits, for a connection and for a part of a reply. A server may compile meanwhile.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REPLY_TIMEOUT: Duration = Duration::from_secs(300);

/// The longest reply that is read, in bytes.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// A server's address: `redis://[user@]host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    user: Option<String>,
    host: String,
    port: u16,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// Fails with a sentence for what an address cannot have, such as a password.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let text = text.escape_debug();
            UsageError(format!(
                "the server `{text}` {why}; an address is redis://host:port or redis://user@host:port"
            ))
        };
        if let Some((_, rest)) = text.split_once("://")
            && rest
                .rsplit_once('@')
                .is_some_and(|(user, _)| user.contains(':'))
        {
            // The address is not repeated.
            bail!(UsageError(format!(
                "the server's address has a password in it, where others can see it; put it into {PASSWORD_VARIABLE}"
            )));
        }
        if text.starts_with("rediss://") {
            bail!(wrong(
                "is to be reached over TLS, which deploy cannot do; open a tunnel"
            ));
        }
        let Some(rest) = text.strip_prefix("redis://") else {
            bail!(wrong("does not begin with redis://"));
        };
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, rest),
        };
        let place = place.trim_end_matches('/');
        // An IPv6 address stands in brackets.
        let (host, port) = match place
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((host, after)) => (host, after.strip_prefix(':')),
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = match port.map(str::parse) {
            None => PORT,
            Some(Ok(port)) => port,
            Some(Err(_)) => bail!(wrong("has a port that is no number up to 65535")),
        };
        if host.is_empty() || host.contains(['/', '?']) {
            bail!(wrong("names no host"));
        }
        Ok(Self {
            user,
            host: host.to_owned(),
            port,
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// An open connection.
pub(super) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects, and signs in if there is a password or a user.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be reached or refuses the user.
    pub(super) fn open(address: &Address) -> Result<Self> {
        let reach = || -> std::io::Result<TcpStream> {
            let mut last = None;
            for place in (address.host.as_str(), address.port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&place, CONNECT_TIMEOUT) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| std::io::ErrorKind::NotFound.into()))
        };
        let stream = reach().with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        let mut connection = Self { stream };
        let password = match std::env::var(PASSWORD_VARIABLE) {
            Ok(password) => Some(password),
            Err(_) if address.user.is_some() => {
                bail!("the user's password is missing; put it into {PASSWORD_VARIABLE}")
            }
            Err(_) => None,
        };
        if let Some(password) = password {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(address.user.as_deref().map(str::as_bytes));
            words.push(password.as_bytes());
            if let Some(error) = connection.command(&words)?.error() {
                bail!("{address}: {error}");
            }
        }
        Ok(connection)
    }

    /// Sends a command and returns its reply.
    ///
    /// # Errors
    ///
    /// Fails if the connection does. An error reply is a value.
    pub(super) fn command(&mut self, words: &[&[u8]]) -> Result<Value> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream
            .write_all(&request)
            .context("the server does not take the command")?;
        let mut bytes = Vec::new();
        let mut part = [0; 16 << 10];
        while whole(&bytes, 1, 0).is_none() {
            let len = self
                .stream
                .read(&mut part)
                .context("the server does not reply")?;
            if len == 0 {
                bail!("the server closed the connection");
            }
            bytes.extend_from_slice(&part[..len]);
            if bytes.len() > REPLY_BYTES_MAX {
                bail!("the server's reply is longer than {REPLY_BYTES_MAX} bytes");
            }
        }
        reply::read(&bytes)
    }
}

/// Returns the length of `count` replies in RESP2, if all of them are there. What is malformed counts as
/// there, for the parser to refuse.
fn whole(bytes: &[u8], count: usize, depth: usize) -> Option<usize> {
    if depth > reply::DEPTH_MAX {
        return Some(bytes.len());
    }
    let mut at = 0;
    for _ in 0..count {
        let rest = bytes.get(at..)?;
        let line = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let number = || {
            std::str::from_utf8(rest.get(1..line)?)
                .ok()?
                .parse::<i64>()
                .ok()
        };
        at += line + 2;
        match rest.first()? {
            b'$' => {
                let len = usize::try_from(number().unwrap_or(-1)).ok();
                at += len.map_or(0, |len| len.saturating_add(2));
            }
            b'*' => {
                let items = usize::try_from(number().unwrap_or(0)).unwrap_or(0);
                at += whole(bytes.get(at..)?, items, depth + 1)?;
            }
            _ => {}
        }
    }
    (at <= bytes.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::{Address, whole};

    #[test]
    fn addresses_are_read() {
        for (text, user, host, port) in [
            ("redis://127.0.0.1", None, "127.0.0.1", 6380),
            ("redis://db:7000/", None, "db", 7000),
            ("redis://deploy@db:7000", Some("deploy"), "db", 7000),
            ("redis://[::1]:7000", None, "::1", 7000),
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!(
                (address.user.as_deref(), address.host.as_str(), address.port),
                (user, host, port)
            );
        }
        for (text, why) in [
            ("127.0.0.1:6380", "does not begin with redis://"),
            ("rediss://db", "over TLS"),
            ("redis://a:secret@db", "has a password in it"),
            ("rediss://a:secret@db", "has a password in it"),
            ("redis://db:port", "has a port"),
            ("redis://", "names no host"),
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_reply_is_whole_when_its_last_byte_is_there() {
        for reply in [
            &b"+OK\r\n"[..],
            b"$-1\r\n",
            b"$3\r\na\r\n\r\n",
            b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n",
            b"*0\r\n",
        ] {
            assert_eq!(whole(reply, 1, 0), Some(reply.len()));
            for end in 0..reply.len() {
                assert_eq!(whole(&reply[..end], 1, 0), None, "{end}");
            }
        }
    }
}
