//! Our side of the comparison: the store in this process, or a `ferrite-server` of its own.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use ferrite_protocol::resp::Protocol;
use ferrite_store::{Flow, Session, Store, StoreOptions};
use tempfile::TempDir;

use super::connection::Connection;
use crate::client::Encoder;

/// The side that is compared with Valkey.
pub(super) enum Ours {
    Embedded(Embedded),
    Server(Server),
}

/// The store without a server, with one session.
pub(super) struct Embedded {
    pub(super) store: Store,
    session: Session,
    protocol: Protocol,
}

/// A running server with one connection. Dropping it stops the server.
pub(super) struct Server {
    process: Child,
    connection: Connection,
    _dir: TempDir,
}

impl Ours {
    /// Starts the program that `FERRITE_DIFFERENTIAL_SERVER` names, or opens a store without it.
    pub(super) fn start(protocol: Protocol) -> Self {
        match std::env::var("FERRITE_DIFFERENTIAL_SERVER") {
            Ok(program) => Self::Server(Server::start(&program, protocol)),
            Err(_) => Self::Embedded(Embedded {
                store: Store::in_memory(&StoreOptions::default()),
                session: Session::new(),
                protocol,
            }),
        }
    }

    /// Returns true if `MULTI` is a command there.
    pub(super) const fn has_transactions(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    /// Sends commands, whose replies are asked for in the same order.
    pub(super) fn send(&mut self, commands: &[Vec<Vec<u8>>]) {
        match self {
            // Runs a command when its reply is asked for.
            Self::Embedded(_) => {}
            Self::Server(server) => server.connection.send(commands),
        }
    }

    /// The bytes of the reply to a command that was sent.
    pub(super) fn reply(&mut self, argv: &[Vec<u8>]) -> Vec<u8> {
        match self {
            Self::Embedded(embedded) => embedded.run(argv),
            Self::Server(server) => server.connection.reply(),
        }
    }

    /// Runs a command; returns the reply's bytes.
    pub(super) fn run(&mut self, argv: &[Vec<u8>]) -> Vec<u8> {
        self.send(&[argv.to_vec()]);
        self.reply(argv)
    }
}

impl Embedded {
    fn run(&mut self, argv: &[Vec<u8>]) -> Vec<u8> {
        let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        // A command of the server.
        if let [b"SELECT", database] = argv[..] {
            assert!(self.store.select(&mut self.session, database).is_ok());
            return b"+OK\r\n".to_vec();
        }
        let mut out = Encoder::new(self.protocol);
        match self.store.execute(&mut self.session, &argv, &mut out) {
            Flow::Done => {}
            Flow::Blocked(blocked) => blocked.finish(&mut self.session, &mut out),
            Flow::Retry(_) => panic!("nobody else is there to wait for"),
        }
        out.bytes
    }
}

impl Server {
    fn start(program: &str, protocol: Protocol) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut process = Command::new(program)
            .arg("--dir")
            .arg(dir.path())
            .args(["--port", "0", "--store-persistent", "false"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("FERRITE_DIFFERENTIAL_SERVER names a program that can be run");
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().expect("a piped output"));
        output.read_line(&mut line).expect("the server's output");
        let address = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("resp="))
            .unwrap_or_else(|| panic!("the server is not ready: {line:?}"));
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket takes options");
        let mut server = Self {
            process,
            connection: Connection::new(stream),
            _dir: dir,
        };
        if protocol == Protocol::Resp3 {
            server
                .connection
                .send(&[vec![b"HELLO".to_vec(), b"3".to_vec()]]);
            server.connection.reply();
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
