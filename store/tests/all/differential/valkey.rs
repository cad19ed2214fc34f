//! A Valkey server of our own, and a connection to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use ferrite_protocol::resp::Protocol;
use tempfile::TempDir;

/// A running server with one connection. Dropping it stops the server.
pub(super) struct Valkey {
    server: Child,
    connection: Connection,
    dir: TempDir,
}

/// A connection to a server.
pub(super) struct Connection {
    stream: BufReader<UnixStream>,
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
            connection: Connection::open(&dir),
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
        Connection::open(&self.dir)
    }
}

impl Connection {
    fn open(dir: &TempDir) -> Self {
        let socket = dir.path().join("valkey.sock");
        Self {
            stream: BufReader::new(UnixStream::connect(socket).expect("the server's socket")),
        }
    }

    /// Sends commands, whose replies come in the same order.
    pub(super) fn send(&mut self, commands: &[Vec<Vec<u8>>]) {
        let requests: Vec<u8> = commands.iter().flat_map(|argv| request(argv)).collect();
        self.stream
            .get_mut()
            .write_all(&requests)
            .expect("a connection to write to");
    }

    /// The bytes of the next reply.
    pub(super) fn reply(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        self.read_reply(&mut reply);
        reply
    }

    fn read_reply(&mut self, reply: &mut Vec<u8>) {
        let start = reply.len();
        self.stream.read_until(b'\n', reply).expect("a reply");
        let line = String::from_utf8_lossy(&reply[start + 1..])
            .trim_end()
            .to_owned();
        let number: i64 = line.parse().unwrap_or(-1);
        match reply[start] {
            b'$' | b'=' if number >= 0 => {
                let at = reply.len();
                reply.resize(at + number as usize + 2, 0);
                self.stream
                    .read_exact(&mut reply[at..])
                    .expect("a whole reply");
            }
            b'*' | b'~' | b'>' => (0..number).for_each(|_| self.read_reply(reply)),
            b'%' => (0..number * 2).for_each(|_| self.read_reply(reply)),
            _ => {}
        }
    }
}

impl Drop for Valkey {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn request(argv: &[Vec<u8>]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", argv.len()).into_bytes();
    for argument in argv {
        request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        request.extend_from_slice(argument);
        request.extend_from_slice(b"\r\n");
    }
    request
}
