//! A connection to a server, whose replies are raw bytes.

use std::io::{BufRead, BufReader, Read, Write};

/// A socket of any kind.
pub(super) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// A connection to a server.
pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
}

impl Connection {
    pub(super) fn new(stream: impl Stream + 'static) -> Self {
        Self {
            stream: BufReader::new(Box::new(stream)),
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

fn request(argv: &[Vec<u8>]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", argv.len()).into_bytes();
    for argument in argv {
        request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        request.extend_from_slice(argument);
        request.extend_from_slice(b"\r\n");
    }
    request
}
