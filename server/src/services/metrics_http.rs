//! Serves metrics over HTTP, at `GET /metrics` alone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::net::accept_backoff::pause_after;
use crate::scheduling::futures::with_timeout;
use crate::services::prometheus;
use crate::state::ServerState;

/// Most requests at the same time; further ones wait to be accepted.
const REQUESTS_MAX: usize = 8;

/// Most bytes of a request's head; browsers and scrapers send far fewer.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Longest time of a request, from its first byte to the last of the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until it is dropped.
pub(crate) async fn run(state: Arc<ServerState>, listener: TcpListener) {
    let at_once = Arc::new(Semaphore::new(REQUESTS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&at_once).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    // A failed response needs no report: the scraper will ask again.
                    let _ = with_timeout(REQUEST_TIMEOUT, answer(&state, stream)).await;
                    drop(permit);
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

async fn answer(state: &Arc<ServerState>, mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let (status, body) = match head.split(|&byte| byte == b' ').take(2).collect::<Vec<_>>()[..] {
        [b"GET", b"/metrics"] => {
            let state = Arc::clone(state);
            // The cache's figures come from the disk.
            let text = tokio::task::spawn_blocking(move || prometheus::text(&state)).await;
            ("200 OK", text.map_err(io::Error::other)?)
        }
        [b"GET", _] => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        _ => (
            "405 Method Not Allowed",
            "only GET is understood\n".to_owned(),
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
