//! The connection to the engine that one client has of its own.

use std::io;

use ferrite_upstream::EngineStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// The connection to the engine that one client has of its own.
#[derive(Debug)]
pub(super) struct EngineConnection {
    reader: ReadHalf<EngineStream>,
    writer: WriteHalf<EngineStream>,
    /// Requests that are still to be sent.
    pending: Vec<u8>,
    sent: usize,
    /// True while bytes that were sent may wait in the encryption's buffer.
    unflushed: bool,
    /// Bytes that were read and not yet looked at.
    pub(super) received: Vec<u8>,
}

impl EngineConnection {
    pub(super) fn new(stream: EngineStream) -> Self {
        let (reader, writer) = split(stream);
        Self {
            reader,
            writer,
            pending: Vec::new(),
            sent: 0,
            unflushed: false,
            received: Vec::new(),
        }
    }

    /// Adds a request to those that are to be sent.
    pub(super) fn push(&mut self, request: &[u8]) {
        self.pending.extend_from_slice(request);
    }

    /// Returns the number of bytes that are still to be sent.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.len() - self.sent
    }

    /// Sends and receives, and returns when something was received. May be dropped at any time.
    ///
    /// # Errors
    ///
    /// The connection failed, or the engine has closed it.
    pub(super) async fn exchange(&mut self) -> io::Result<()> {
        let Self {
            reader,
            writer,
            pending,
            sent,
            unflushed,
            received,
        } = self;
        loop {
            received.reserve(READ_BYTES);
            let writes = *sent < pending.len() || *unflushed;
            let write = async {
                if *sent < pending.len() {
                    writer.write(&pending[*sent..]).await
                } else {
                    writer.flush().await.map(|()| 0)
                }
            };
            tokio::select! {
                read = reader.read_buf(received) => {
                    return match read? {
                        0 => Err(io::ErrorKind::UnexpectedEof.into()),
                        _ => Ok(()),
                    };
                }
                written = write, if writes => {
                    let written = written?;
                    *unflushed = written > 0;
                    *sent += written;
                    if *sent == pending.len() {
                        *sent = 0;
                        pending.clear();
                        pending.shrink_to(READ_BYTES);
                    }
                }
            }
        }
    }
}
