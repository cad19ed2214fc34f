//! A Valkey server of our own, and a connection to it.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use ferrite_protocol::resp::Protocol;
use tempfile::TempDir;

use super::connection::Connection;

/// A running server with one connection. Dropping it stops the server.
pub(super) struct Valkey {
    server: Child,
    connection: Connection,
    dir: TempDir,
}

impl Valkey {
    /// Starts a server; `None` if no server is available.
    pub(super) fn start(protocol: Protocol) -> Option<Self> {
        let Ok(binary) = std::env::var("FERRITE_VALKEY_SERVER") else {
            println!("skipped: FERRITE_VALKEY_SERVER does not name a valkey-server binary");
            return None;
        };
        let dir = tempfile::tempdir().expect("a temporary directory");
        let socket = dir.path().join("valkey.sock");
        let socket = socket.to_str().expect("a path in UTF-8").to_owned();
        let mut server = Command::new(&binary)
            .current_dir(dir.path())
            .args([
                "--port",
                "0",
                "--unixsocket",
                &socket,
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            // The limits of Redis 7.2, on which the order of small collections depends.
            .args([
                "--hash-max-listpack-entries",
                "128",
                "--hash-max-listpack-value",
                "64",
            ])
            .args([
                "--set-max-listpack-entries",
                "128",
                "--set-max-listpack-value",
                "64",
            ])
            .args([
                "--zset-max-listpack-entries",
                "128",
                "--zset-max-listpack-value",
                "64",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("FERRITE_VALKEY_SERVER names a program that can be run");
        let mut log = BufReader::new(server.stdout.take().expect("a piped output"));
        let mut line = String::new();
        while !line.contains("eady to accept connections") {
            line.clear();
            let read = log.read_line(&mut line).expect("the server's log");
            assert!(read > 0, "valkey-server ended before it was ready");
        }
        // The log must be read, or the server would block on a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let mut valkey = Self {
            server,
            connection: open(&dir),
            dir,
        };
        if protocol == Protocol::Resp3 {
            valkey.run(&[b"HELLO".to_vec(), b"3".to_vec()]);
        }
        Some(valkey)
    }

    /// Runs a command; returns the reply's bytes.
    pub(super) fn run(&mut self, argv: &[Vec<u8>]) -> Vec<u8> {
        self.send(&[argv.to_vec()]);
        self.reply()
    }

    /// Sends commands, whose replies come in the same order.
    pub(super) fn send(&mut self, commands: &[Vec<Vec<u8>>]) {
        self.connection.send(commands);
    }

    /// The bytes of the next reply.
    pub(super) fn reply(&mut self) -> Vec<u8> {
        self.connection.reply()
    }

    /// Opens another connection.
    pub(super) fn connect(&self) -> Connection {
        open(&self.dir)
    }
}

fn open(dir: &TempDir) -> Connection {
    let socket = dir.path().join("valkey.sock");
    Connection::new(UnixStream::connect(socket).expect("the server's socket"))
}

impl Drop for Valkey {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
