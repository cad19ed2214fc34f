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

use crate::scheduling::futures::poll_once;
use crate::scheduling::futures::{TimedOut, with_timeout};

/// The socket as its own connection uses it.
pub(crate) enum Socket {
    /// Bytes as they are.
    Plain(PlainSocket),
    /// Bytes under TLS.
    Tls(Box<TlsStream<PlainSocket>>),
}

/// The bytes as they go over the network.
#[derive(Debug)]
pub(crate) struct PlainSocket {
    reader: OwnedReadHalf,
    handle: Arc<SocketHandle>,
}

/// The socket as others may use it: to end the connection.
///
/// Ending it means shutting the socket down, which its connection then sees as the client going
/// away. So a connection waits for its socket alone, and for nothing else, however it ends.
#[derive(Debug)]
pub(crate) struct SocketHandle {
    writer: OwnedWriteHalf,
}

impl SocketHandle {
    /// Ends the connection at once.
    pub(crate) fn disconnect(&self) {
        self.shut(rustix::net::Shutdown::Both);
    }

    /// Takes no further requests; replies to what runs still go out.
    pub(crate) fn stop_reading(&self) {
        self.shut(rustix::net::Shutdown::Read);
    }

    fn shut(&self, how: rustix::net::Shutdown) {
        // Fails only where the client was faster, and then there is nothing left to do.
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

    /// Sends a last word if the socket takes it at once, and closes.
    pub(crate) fn refuse(self, reply: &[u8]) {
        // A client that cannot even take that gets nothing.
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
    /// A socket on which the client speaks at once, or first agrees on TLS.
    ///
    /// # Errors
    ///
    /// When the client does not agree, or not within `patience`.
    pub(crate) async fn open(
        tcp: PlainSocket,
        tls: Option<TlsAcceptor>,
        timeout: Duration,
    ) -> io::Result<Self> {
        match tls {
            None => Ok(Self::Plain(tcp)),
            Some(acceptor) => {
                // Boxed, since most connections would carry the room for it in vain.
                let stream = with_io_timeout(timeout, Box::pin(acceptor.accept(tcp))).await?;
                Ok(Self::Tls(Box::new(stream)))
            }
        }
    }

    /// Waits for bytes without a buffer to put them in; that there are some is not certain.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => {
                // Of tokio's share of a turn, reading uses some and waiting for bytes none: a read that
                // finds nothing left of it, and a wait that finds bytes, would follow each other for
                // ever.
                consume_budget().await;
                tcp.reader.readable().await
            }
            Self::Tls(stream) => stream.fill_buf().await.map(|_| ()),
        }
    }

    /// Appends what has arrived to `input`; 0 bytes mean that no more will.
    pub(crate) async fn read(&mut self, input: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.reader.read_buf(input).await,
            Self::Tls(stream) => stream.read_buf(input).await,
        }
    }

    /// As [`Socket::read`], but `None` where it would have to wait.
    pub(crate) async fn read_now(&mut self, input: &mut Vec<u8>) -> Option<io::Result<usize>> {
        poll_once(pin!(self.read(input))).await
    }

    /// Waits until the client has gone away, or at least will send nothing further.
    ///
    /// Sees it behind requests that are not read yet: the event loop reports the end of the stream
    /// apart from data, and interest in urgent data alone (which is never registered for) waits for
    /// just that.
    pub(crate) async fn closed(&self) {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => stream.get_ref().0,
        };
        // An error is an end as well.
        let _ = tcp.reader.ready(Interest::PRIORITY).await;
    }

    /// Sends all of `bytes`, or fails; with [`io::ErrorKind::TimedOut`] when the client takes none
    /// for as long as `patience`.
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
        // Whoever waits for what is there, and then is not let read it, does so again.
        let mut waits = pin!(async {
            loop {
                socket.readable().await.unwrap();
            }
        });
        assert!(poll_once(waits.as_mut()).await.is_none());
    }
}
