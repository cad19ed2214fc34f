//! A server that takes the requests of the outbox.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Its idempotency key.
    pub(crate) key: String,
    pub(crate) body: String,
}

/// A server on the loopback, which answers each request with the next prepared status, or 200.
pub(crate) struct ReceivingServer {
    port: u16,
    pub(crate) arrived: Receiver<Arrived>,
    statuses: Arc<Mutex<VecDeque<u16>>>,
    /// Lets one request for `/held` go on.
    pub(crate) release: Sender<()>,
}

impl ReceivingServer {
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    /// Starts at a port at which nobody listened so far.
    pub(crate) fn start_at(port: u16) -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", port)).expect("the port is free"))
    }

    fn on(listener: TcpListener) -> Self {
        let port = listener.local_addr().expect("an address").port();
        let (tell, arrived) = channel();
        let (release, released) = channel();
        let released = Arc::new(Mutex::new(released));
        let statuses: Arc<Mutex<VecDeque<u16>>> = Arc::default();
        let prepared = Arc::clone(&statuses);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (tell, prepared) = (tell.clone(), Arc::clone(&prepared));
                let released = Arc::clone(&released);
                thread::spawn(move || serve(&stream, &tell, &prepared, &released));
            }
        });
        Self {
            port,
            arrived,
            statuses,
            release,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        url(self.port, path)
    }

    /// Answers the next requests with these statuses.
    pub(crate) fn answer(&self, statuses: &[u16]) {
        self.statuses.lock().expect("no panic").extend(statuses);
    }

    /// Waits for the next request.
    #[track_caller]
    pub(crate) fn next(&self) -> Arrived {
        self.arrived.recv().expect("a request")
    }
}

/// Returns a port at which nobody listens.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

pub(crate) fn url(port: u16, path: &str) -> String {
    format!("http://127.0.0.1:{port}{path}")
}

/// Answers until the client ends the connection.
fn serve(
    stream: &TcpStream,
    tell: &Sender<Arrived>,
    prepared: &Mutex<VecDeque<u16>>,
    released: &Mutex<Receiver<()>>,
) -> Option<()> {
    let mut writer = stream;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let header = |name: &str| {
            let mut lines = head.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or_default().to_owned()
        };
        let mut body = vec![0; header("content-length").parse().unwrap_or_default()];
        reader.read_exact(&mut body).ok()?;
        let mut words = head.split(' ').map(str::to_owned);
        let arrived = Arrived {
            method: words.next()?,
            target: words.next()?,
            key: header("idempotency-key"),
            body: String::from_utf8(body).ok()?,
        };
        let held = arrived.target == "/held";
        // The test is over if nobody listens.
        let _ = tell.send(arrived);
        if held {
            released.lock().expect("no panic").recv().ok()?;
        }
        let status = prepared.lock().expect("no panic").pop_front();
        let status = status.unwrap_or(200);
        let response = format!("HTTP/1.1 {status} Status\r\ncontent-length: 2\r\n\r\nok");
        writer.write_all(response.as_bytes()).ok()?;
    }
}
