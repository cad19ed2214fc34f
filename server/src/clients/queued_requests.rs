//! The requests that a client queues between `MULTI` and `EXEC`.

/// The requests of a client since its `MULTI`.
#[derive(Debug, Default)]
pub(crate) struct QueuedRequests {
    pub(crate) requests: Vec<Box<[Box<[u8]>]>>,
    /// Bytes of all arguments together.
    pub(crate) bytes: usize,
    /// True if a request was refused; `EXEC` then runs none of them.
    pub(crate) aborted: bool,
}

impl QueuedRequests {
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }
}
