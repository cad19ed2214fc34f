//! The requests that a client holds back between `MULTI` and `EXEC`.

/// What a client has said since `MULTI`.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) requests: Vec<Box<[Box<[u8]>]>>,
    /// Bytes of all of them.
    pub(crate) bytes: usize,
    /// Whether one of them was wrong, so that none will run.
    pub(crate) broken: bool,
}

impl Held {
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }
}
