//! Connects to the very address that was checked.
//!
//! A name is resolved once for each connection. Every address of the answer is checked, and the
//! connection is made to one of those addresses: an answer that changes afterwards changes nothing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::address::{IpRange, refusal};
use super::message::{FailureCode, RequestFailure};
use super::resolve::Resolve;
use super::url::{Host, HttpUrl};

/// Makes connections for the HTTP client.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) private_ranges: Arc<[IpRange]>,
    pub(super) time_max: Duration,
}

/// A connection, encrypted or not.
pub(super) enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = RequestFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, RequestFailure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RequestFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let time_max = connector.time_max;
            let connecting = connector.connect(&uri);
            timeout(time_max, connecting).await.unwrap_or_else(|_| {
                let text = format!("no connection within {} ms", time_max.as_millis());
                Err(RequestFailure::new(FailureCode::Timeout, text))
            })
        })
    }
}

impl Connector {
    async fn connect(self, uri: &Uri) -> Result<Stream, RequestFailure> {
        // Read by the same rules as the URL that was checked, so that both mean the same host.
        let url = HttpUrl::parse(&uri.to_string())
            .map_err(|error| RequestFailure::new(FailureCode::Invalid, error.to_string()))?;
        let addresses = self.addresses(&url.host).await?;
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(SocketAddr::new(address, url.port)).await {
                Ok(stream) => return self.secure(stream, &url).await,
                Err(error) => last = Some((address, error)),
            }
        }
        let text = last.map_or_else(
            || format!("host {} has no address", url.host),
            |(address, error)| format!("{address} port {}: {error}", url.port),
        );
        Err(RequestFailure::new(FailureCode::Connect, text))
    }

    /// Returns the addresses of a host, all of which may be reached.
    async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, RequestFailure> {
        let addresses = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let (resolver, asked) = (Arc::clone(&self.resolver), name.clone());
                let resolved = tokio::task::spawn_blocking(move || resolver.resolve(&asked)).await;
                resolved
                    .unwrap_or_else(|error| Err(io::Error::other(error)))
                    .map_err(|error| {
                        RequestFailure::new(FailureCode::Dns, format!("host {name}: {error}"))
                    })?
            }
        };
        for address in &addresses {
            // One that may not be reached spoils the answer: such answers are made for attacks.
            if let Some(reason) = refusal(*address, &self.private_ranges) {
                let text = format!(
                    "host {host} is {address}, {reason}, where functions may not go; wasm.security.allow_private_network opens ranges"
                );
                return Err(RequestFailure::new(FailureCode::Address, text));
            }
        }
        Ok(addresses)
    }

    async fn secure(self, stream: TcpStream, url: &HttpUrl) -> Result<Stream, RequestFailure> {
        // Best effort: it only saves time.
        let _ = stream.set_nodelay(true);
        if !url.https {
            return Ok(Stream::Plain(TokioIo::new(stream)));
        }
        let failed = |text: String| RequestFailure::new(FailureCode::Tls, text);
        let name = match &url.host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::try_from(name.to_string())
                .map_err(|error| failed(format!("host {name}: {error}")))?,
        };
        let stream = TlsConnector::from(self.tls)
            .connect(name, stream)
            .await
            .map_err(|error| failed(format!("host {}: {error}", url.host)))?;
        Ok(Stream::Tls(Box::new(TokioIo::new(stream))))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        match self {
            Self::Plain(_) => connected,
            Self::Tls(stream) => {
                let (_, session) = stream.inner().get_ref();
                if session.alpn_protocol() == Some(b"h2") {
                    connected.negotiated_h2()
                } else {
                    connected
                }
            }
        }
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
