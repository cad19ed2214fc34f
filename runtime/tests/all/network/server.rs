//! A server that behaves as badly as its clients' URLs say.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// The counters and the log of a server.
#[derive(Default)]
pub(crate) struct Seen {
    /// Connections that it has taken.
    pub(crate) connections: AtomicUsize,
    /// Heads of the requests, with their bodies.
    pub(crate) requests: Mutex<Vec<String>>,
    /// Told when a request arrives that is never answered.
    pub(crate) stuck: Notify,
    /// Told when the client of such a request is gone.
    pub(crate) gone: Notify,
}

/// A server on the loopback.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) seen: Arc<Seen>,
    /// The certificate, as PEM.
    pub(crate) certificate: String,
}

/// The protocol of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http,
    Https,
    Http2,
}

impl Server {
    /// Starts a server whose certificate is for `localhost`.
    pub(crate) async fn start(speaks: Speaks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a certificate");
        if speaks == Speaks::Http2 {
            tls.alpn_protocols = vec![b"h2".to_vec()];
        }
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let seen = Arc::new(Seen::default());
        let counted = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::Relaxed);
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    // Clients that end early are what many tests are about.
                    let _ = match speaks {
                        Speaks::Http => serve(stream, &seen).await,
                        Speaks::Https => match acceptor.accept(stream).await {
                            Ok(stream) => serve(stream, &seen).await,
                            Err(error) => Err(error),
                        },
                        Speaks::Http2 => match acceptor.accept(stream).await {
                            Ok(stream) => serve_http2(stream, &seen).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self {
            port,
            seen,
            certificate: cert.pem(),
        }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().expect("the log").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }
}

async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin>(stream: S, seen: &Seen) -> io::Result<()> {
    let mut connection = h2::server::handshake(stream)
        .await
        .map_err(io::Error::other)?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request.map_err(io::Error::other)?;
        let line = format!("{} {}", request.method(), request.uri());
        seen.requests.lock().expect("the log").push(line);
        let response = hyper::Response::new(());
        let mut body = respond
            .send_response(response, false)
            .map_err(io::Error::other)?;
        body.send_data("by HTTP/2".into(), true)
            .map_err(io::Error::other)?;
    }
    Ok(())
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, seen: &Seen) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let head_end = loop {
            if let Some(end) = find(&buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
        let headers: HashMap<String, String> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .and_then(|length| length.parse().ok());
        let total = head_end + length.unwrap_or(0_usize);
        while buffer.len() < total {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let body = buffer[head_end..total].to_vec();
        buffer.drain(..total);
        let shown = format!("{head}{}", String::from_utf8_lossy(&body));
        seen.requests.lock().expect("the log").push(shown.clone());
        let target = head.split(' ').nth(1).unwrap_or_default();
        answer(&mut stream, seen, target, &shown).await?;
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    seen: &Seen,
    target: &str,
    request: &str,
) -> io::Result<()> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let redirect = |status: u16| {
        format!("HTTP/1.1 {status} X\r\nlocation: {query}\r\ncontent-length: 4\r\n\r\nbody")
    };
    let reply = match path {
        "/echo" => format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-one: 1\r\nX-Two: 2\r\n\r\n{request}",
            request.len()
        ),
        "/missing" => "HTTP/1.1 404 Nope\r\ncontent-length: 2\r\n\r\nno".to_owned(),
        "/301" => redirect(301),
        "/302" => redirect(302),
        "/303" => redirect(303),
        "/307" => redirect(307),
        "/308" => redirect(308),
        "/loop" => "HTTP/1.1 302 X\r\nlocation: /loop\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/huge" => "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_owned(),
        "/garbage" => "this is no HTTP\r\n\r\n".to_owned(),
        "/two-lengths" => {
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned()
        }
        "/early" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfive!")
                .await?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        "/gzip" => return packed(stream, &gzip(b"unpacked")).await,
        "/gzip-cut" => {
            let bytes = gzip(&[b'x'; 1000]);
            return packed(stream, &bytes[..bytes.len() - 6]).await;
        }
        "/gzip-wrong" => return packed(stream, b"\x1f\x8b\x08 no gzip").await,
        "/bomb" => return packed(stream, &gzip(&vec![0; 64 << 20])).await,
        "/empty-members" => {
            let members = gzip(b"").repeat(1000);
            stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n",
                )
                .await?;
            loop {
                stream
                    .write_all(format!("{:x}\r\n", members.len()).as_bytes())
                    .await?;
                stream.write_all(&members).await?;
                stream.write_all(b"\r\n").await?;
            }
        }
        "/endless" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await?;
            loop {
                stream.write_all(b"4\r\nmore\r\n").await?;
            }
        }
        "/endless-headers" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                stream.write_all(b"x-more: and more\r\n").await?;
            }
        }
        "/slow-headers" => return stay(stream, seen, b"HTTP/1.1 200 OK\r\nx-").await,
        "/slow-body" => {
            return stay(
                stream,
                seen,
                b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab",
            )
            .await;
        }
        "/silent" => return stay(stream, seen, b"").await,
        _ => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
    };
    stream.write_all(reply.as_bytes()).await
}

/// Sends the beginning of a response, and waits until the client goes away.
async fn stay<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    seen: &Seen,
    beginning: &[u8],
) -> io::Result<()> {
    stream.write_all(beginning).await?;
    stream.flush().await?;
    seen.stuck.notify_one();
    let mut rest = [0; 64];
    while matches!(stream.read(&mut rest).await, Ok(1..)) {}
    seen.gone.notify_one();
    Err(io::ErrorKind::ConnectionAborted.into())
}

async fn packed<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        bytes.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(bytes).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    io::Write::write_all(&mut encoder, bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
