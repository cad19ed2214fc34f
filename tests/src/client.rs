//! A small blocking client that can also send invalid requests.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::reply::Reply;

/// Longer than any wait of a test, so that a test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    resp3: bool,
}

/// A request: a flat array of bulk strings.
#[must_use]
pub fn encode<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    request
}

impl Client {
    /// Connects; uses RESP2 until [`Client::hello3`].
    ///
    /// # Panics
    ///
    /// If no server listens.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Does the same as [`Client::connect`], for a server that may be down.
    ///
    /// # Errors
    ///
    /// If no server listens.
    ///
    /// # Panics
    ///
    /// If the socket takes no options.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        stream.set_nodelay(true).expect("nodelay can be set");
        Ok(Self {
            stream,
            received: Vec::new(),
            resp3: false,
        })
    }

    /// Switches to RESP3; returns the server's description of itself.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub fn hello3(&mut self) -> Reply {
        self.resp3 = true;
        let reply = self.call(&["HELLO", "3"]);
        assert!(reply.error().is_none(), "HELLO 3 was refused: {reply:?}");
        reply
    }

    /// Sends a request and waits for its reply.
    pub fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Reply {
        self.send(&encode(words));
        self.reply()
    }

    /// Does the same as [`Client::call`], for a line of words without quotes.
    pub fn run(&mut self, line: &str) -> Reply {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        self.call(&words)
    }

    /// Sends any bytes.
    ///
    /// # Panics
    ///
    /// If the server does not accept them.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .expect("the server takes what is sent");
    }

    /// Sends bytes to a server that may close the connection meanwhile.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits for the next reply.
    ///
    /// # Panics
    ///
    /// If the server closes instead, or sends nothing for a minute.
    pub fn reply(&mut self) -> Reply {
        self.next()
            .expect("a reply rather than the connection's end")
    }

    /// Waits for the next reply; `None` if the connection ends.
    ///
    /// # Panics
    ///
    /// If the server sends nothing for a minute.
    #[expect(
        clippy::should_implement_trait,
        reason = "it blocks, and has no end to iterate to"
    )]
    pub fn next(&mut self) -> Option<Reply> {
        loop {
            if let Some((reply, length)) = Reply::decode(&self.received, self.resp3) {
                self.received.drain(..length);
                return Some(reply);
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    /// The next reply, if it has arrived.
    ///
    /// # Panics
    ///
    /// If the server closes, or the socket takes no options.
    pub fn ready(&mut self) -> Option<Reply> {
        let set = |client: &Self, on| client.stream.set_nonblocking(on).expect("an open socket");
        set(self, true);
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("the server closed"),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("no reply: {error}"),
            }
        }
        set(self, false);
        let (reply, length) = Reply::decode(&self.received, self.resp3)?;
        self.received.drain(..length);
        Some(reply)
    }

    /// The same connection for another thread, which can send while this one receives.
    ///
    /// # Panics
    ///
    /// If the process has no descriptor left.
    #[must_use]
    pub fn try_clone(&self) -> Self {
        Self {
            stream: self.stream.try_clone().expect("a descriptor is free"),
            received: Vec::new(),
            resp3: self.resp3,
        }
    }

    /// Closes the sending side.
    pub fn finish(&mut self) {
        // The server may have closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The address of this side.
    ///
    /// # Panics
    ///
    /// If the connection is gone.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.stream
            .local_addr()
            .expect("a connected socket has an address")
    }
}
