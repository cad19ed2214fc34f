//! A server that functions make requests to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A server on the loopback. It answers every request but those for `/silent`: `/echo` with the request,
/// `/moved` with a redirection to it, `/large` with 100,000 bytes, and all others with `hello`; that of `/kept`
/// has a header about the connection.
pub(crate) struct Peer {
    pub(crate) port: u16,
    /// The targets of the requests, as they arrive.
    pub(crate) requests: Receiver<String>,
    /// One item for each connection that a client has ended while it waited for an answer.
    pub(crate) gone: Receiver<()>,
}

impl Peer {
    pub(crate) fn start() -> Self {
        Self::start_with(|| ())
    }

    /// Starts one that does something before each answer.
    pub(crate) fn start_with(before: impl Fn() + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (seen, requests) = channel();
        let (left, gone) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (seen, left, before) = (seen.clone(), left.clone(), before.clone());
                thread::spawn(move || {
                    let told = |target: &str| {
                        // The test is over if nobody listens.
                        let _ = seen.send(target.to_owned());
                        before();
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
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        let length = fields
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .find_map(|(_, value)| value.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let (status, answer) = match target.split('?').next() {
            Some("/echo") => (
                "201 Created\r\nx-two: 1\r\nx-two: 2",
                [head.as_bytes(), &body].concat(),
            ),
            Some("/moved") => ("302 Found\r\nlocation: /echo", Vec::new()),
            Some("/large") => ("200 OK", vec![b'x'; 100_000]),
            Some("/kept") => ("200 OK\r\nconnection: keep-alive", b"hello".to_vec()),
            _ => ("200 OK", b"hello".to_vec()),
        };
        let length = answer.len();
        write!(
            writer,
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n"
        )
        .ok()?;
        if !head.starts_with("HEAD ") {
            writer.write_all(&answer).ok()?;
        }
    }
}
