//! A connection to a server, as simple as tests need it: one command, one reply, in RESP2.

use std::io::{self, BufRead as _, BufReader, Read, Write};

use ferrite_wasm_sdk::Value;

/// A connection over any stream.
pub struct Connection<S: Read + Write> {
    stream: BufReader<S>,
}

impl<S: Read + Write> Connection<S> {
    /// Makes a connection of a stream.
    pub fn new(stream: S) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    ///
    /// Fails if the stream fails, or if the reply is not RESP2.
    pub fn command<W: AsRef<[u8]>>(&mut self, argv: &[W]) -> io::Result<Value> {
        let mut request = format!("*{}\r\n", argv.len()).into_bytes();
        for word in argv {
            let word = word.as_ref();
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        let stream = self.stream.get_mut();
        stream.write_all(&request)?;
        stream.flush()?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let Some((kind, rest)) = line.trim_end().split_at_checked(1) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, line.clone());
        Ok(match kind {
            "+" => Value::Simple(rest.to_owned()),
            "-" => Value::Error(rest.to_owned()),
            ":" => Value::Int(rest.parse().map_err(|_| malformed())?),
            "$" | "*" if rest == "-1" => Value::Null,
            "$" => {
                let len: usize = rest.parse().map_err(|_| malformed())?;
                let mut bytes = vec![0; len + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(len);
                Value::Bulk(bytes)
            }
            "*" => {
                let count: usize = rest.parse().map_err(|_| malformed())?;
                Value::Array(
                    (0..count)
                        .map(|_| self.reply())
                        .collect::<io::Result<_>>()?,
                )
            }
            _ => return Err(malformed()),
        })
    }
}
