//! A connection to a server, one command at a time.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::{ClientConnection, StreamOwned};

use super::address::Address;
use super::tls;
use crate::reply::{self, Value};
use crate::tls::TlsOptions;

/// The longest waits, for a connection and for a part of a reply. A server may compile meanwhile.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REPLY_TIMEOUT: Duration = Duration::from_secs(300);

/// The longest reply that is read, in bytes.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// An open connection.
pub(super) struct Connection {
    stream: Stream,
}

/// The bytes of a connection, as they are or by TLS.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, part: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(part),
            Self::Tls(stream) => stream.read(part),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(part),
            Self::Tls(stream) => stream.write(part),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Connection {
    /// Connects, and signs in if there is a password.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be reached, has no certificate that can be trusted, or refuses
    /// the user.
    pub(super) fn open(
        address: &Address,
        options: &TlsOptions,
        password: Option<&str>,
    ) -> Result<Self> {
        let reach = || -> io::Result<TcpStream> {
            let mut last = None;
            for place in (address.host.as_str(), address.port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&place, CONNECT_TIMEOUT) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
        };
        let stream = reach().with_context(|| {
            format!(
                "cannot connect to {address}; start a server there, or name another one with --server"
            )
        })?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        let stream = if address.tls {
            Stream::Tls(Box::new(tls::handshake(options, address, stream)?))
        } else {
            Stream::Plain(stream)
        };
        let mut connection = Self { stream };
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
            .and_then(|()| self.stream.flush())
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
    use super::whole;

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
