//! Writes a download to a file, and fails if the registry sends more bytes than it announced.

use std::fs::File;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// A file that takes a limited number of bytes. Its writes block, which is fine because nothing
/// else runs meanwhile.
pub(super) struct LimitedWriter<'a> {
    file: &'a mut File,
    left: u64,
}

impl<'a> LimitedWriter<'a> {
    pub(super) fn new(file: &'a mut File, bytes: u64) -> Self {
        Self { file, left: bytes }
    }
}

impl AsyncWrite for LimitedWriter<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.len() as u64 > self.left {
            return Poll::Ready(Err(io::Error::other(
                "the registry sends more than it announced",
            )));
        }
        let result = self.file.write(bytes);
        if let Ok(count) = &result {
            self.left -= *count as u64;
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.file.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
