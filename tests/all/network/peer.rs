//! A server that functions make requests to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A server on the loopback. It answers every request but those for `/silent`.
pub(crate) struct Peer {
    pub(crate) port: u16,
    /// The targets of the requests, as they arrive.
    pub(crate) requests: Receiver<String>,
    /// One item for each connection that a client has ended while it waited for an answer.
    pub(crate) gone: Receiver<()>,
}

impl Peer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (seen, requests) = channel();
        let (left, gone) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (seen, left) = (seen.clone(), left.clone());
                thread::spawn(move || {
                    let told = |target: &str| {
                        // The test is over if nobody listens.
                        let _ = seen.send(target.to_owned());
                    };
                    if serve(&stream, told) == Some(()) {
                        let _ = left.send(());
                    }
                });
            }
        });
        Self {
            port,
            requests,
            gone,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Returns how many requests have arrived since the last time.
    pub(crate) fn count(&self) -> usize {
        self.requests.try_iter().count()
    }
}

/// Answers until the client ends the connection. Returns `Some` if it did so while it waited.
fn serve(stream: &TcpStream, seen: impl Fn(&str)) -> Option<()> {
    let mut writer = stream;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let target = head.split(' ').nth(1).unwrap_or_default();
        seen(target);
        if target == "/silent" {
            let mut rest = String::new();
            while matches!(reader.read_line(&mut rest), Ok(1..)) {}
            return Some(());
        }
        writer
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
            .ok()?;
    }
}
