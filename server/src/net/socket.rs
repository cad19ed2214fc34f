//! One connection's socket, plain or under TLS.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest,
    ReadBuf,
};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::coop::consume_budget;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::scheduling::futures::{TimedOut, poll_once, with_timeout};

/// The socket, as its own connection uses it.
pub(crate) enum Socket {
    /// Without encryption.
    Plain(PlainSocket),
    /// With TLS.
    Tls(Box<TlsStream<PlainSocket>>),
}

/// A TCP socket without TLS.
#[derive(Debug)]
pub(crate) struct PlainSocket {
    reader: OwnedReadHalf,
    handle: Arc<SocketHandle>,
}

/// The socket, as other connections use it: to close the connection.
///
/// They shut the socket down, which looks to its connection as if the client disconnected. So a
/// connection needs to wait only for its socket.
#[derive(Debug)]
pub(crate) struct SocketHandle {
    writer: OwnedWriteHalf,
}

impl SocketHandle {
    /// Closes the connection at once.
    pub(crate) fn disconnect(&self) {
        self.shut(rustix::net::Shutdown::Both);
    }

    /// Stops reading further requests. Replies to running ones are still sent.
    pub(crate) fn stop_reading(&self) {
        self.shut(rustix::net::Shutdown::Read);
    }

    fn shut(&self, how: rustix::net::Shutdown) {
        // Fails only if the client closed the connection first, and then nothing is left to do.
        let _ = rustix::net::shutdown(self.writer.as_ref(), how);
    }
}

impl PlainSocket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader,
            handle: Arc::new(SocketHandle { writer }),
        }
    }

    pub(crate) fn handle(&self) -> Arc<SocketHandle> {
        Arc::clone(&self.handle)
    }

    /// Sends `reply` if the socket accepts it at once, and closes the connection.
    pub(crate) fn refuse(self, reply: &[u8]) {
        // If the socket is full, the client gets no reply.
        let _ = self.handle.writer.try_write(reply);
    }

    async fn send(&self, bytes: &[u8], timeout: Duration) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.handle.writer.try_write(&bytes[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    with_io_timeout(timeout, self.handle.writer.writable()).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Socket {
    /// Opens a socket; with `tls`, after the handshake.
    ///
    /// # Errors
    ///
    /// If the handshake fails or takes longer than `timeout`.
    pub(crate) async fn open(
        tcp: PlainSocket,
        tls: Option<TlsAcceptor>,
        timeout: Duration,
    ) -> io::Result<Self> {
        match tls {
            None => Ok(Self::Plain(tcp)),
            Some(acceptor) => {
                // Boxed, because connections without TLS would carry its size for nothing.
                let stream = with_io_timeout(timeout, Box::pin(acceptor.accept(tcp))).await?;
                Ok(Self::Tls(Box::new(stream)))
            }
        }
    }

    /// Waits until there may be bytes to read, without a buffer for them.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => {
                // Reading uses up tokio's cooperative budget; waiting for readiness does not. Without this
                // line, a read that is refused for lack of budget and a wait that ends at once could
                // alternate for ever.
                consume_budget().await;
                tcp.reader.readable().await
            }
            Self::Tls(stream) => stream.fill_buf().await.map(|_| ()),
        }
    }

    /// Waits for bytes, appends them to `input` and returns their number; 0 at the end of the input.
    pub(crate) async fn read(&mut self, input: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.reader.read_buf(input).await,
            Self::Tls(stream) => stream.read_buf(input).await,
        }
    }

    /// Does the same as [`Socket::read`], but returns `None` if it would have to wait.
    pub(crate) async fn read_now(&mut self, input: &mut Vec<u8>) -> Option<io::Result<usize>> {
        poll_once(pin!(self.read(input))).await
    }

    /// Waits until the client has disconnected, or has closed its sending side.
    ///
    /// Works although requests may be unread: the event loop reports the end of the stream apart from
    /// data, and a wait for urgent data alone (which is never registered for) ends at nothing else.
    pub(crate) async fn closed(&self) {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => stream.get_ref().0,
        };
        // An error closes the connection too.
        let _ = tcp.reader.ready(Interest::PRIORITY).await;
    }

    /// Sends all of `bytes`. Fails with [`io::ErrorKind::TimedOut`] if the client accepts no byte for
    /// longer than `timeout`; a timeout of zero is none.
    pub(crate) async fn write(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.send(bytes, timeout).await,
            Self::Tls(stream) => {
                let mut sent = 0;
                while sent < bytes.len() {
                    let count = with_io_timeout(timeout, stream.write(&bytes[sent..])).await?;
                    if count == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    sent += count;
                }
                with_io_timeout(timeout, stream.flush()).await
            }
        }
    }
}

async fn with_io_timeout<T>(
    timeout: Duration,
    step: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match with_timeout(timeout, step).await {
        Ok(done) => done,
        Err(TimedOut) => Err(io::ErrorKind::TimedOut.into()),
    }
}

impl AsyncRead for PlainSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

impl AsyncWrite for PlainSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream: &TcpStream = self.handle.writer.as_ref();
        loop {
            ready!(stream.poll_write_ready(context))?;
            match stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.shut(rustix::net::Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::pin::pin;

    use tokio::net::TcpListener;

    use super::{PlainSocket, Socket};
    use crate::scheduling::futures::poll_once;

    #[tokio::test]
    async fn waiting_for_bytes_that_are_there_gives_way_in_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = Socket::Plain(PlainSocket::new(stream));
        client.write_all(b"PING\r\n").unwrap();
        socket.readable().await.unwrap();
        // A connection that has no budget to read what is there waits again.
        let mut waits = pin!(async {
            loop {
                socket.readable().await.unwrap();
            }
        });
        assert!(poll_once(waits.as_mut()).await.is_none());
    }
}
