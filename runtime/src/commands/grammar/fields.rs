//! A map that is written field by field, with its size counted at the same time.

use std::time::Duration;

use ferrite_protocol::resp::Encoder;

/// Collects the fields of a map in a reply. Not for the hot path: it copies its content.
pub(in crate::commands) struct Fields {
    encoder: Encoder,
    count: usize,
}

impl Fields {
    /// Creates a map for `reply`.
    pub(in crate::commands) const fn new(reply: &Encoder) -> Self {
        Self {
            encoder: Encoder::new(reply.protocol()),
            count: 0,
        }
    }

    /// Adds a field. `write` writes its value, exactly one.
    pub(in crate::commands) fn with(&mut self, name: &str, write: impl FnOnce(&mut Encoder)) {
        self.encoder.bulk(name.as_bytes());
        write(&mut self.encoder);
        self.count += 1;
    }

    /// Adds a text.
    pub(in crate::commands) fn text(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.with(name, |reply| reply.bulk(value.as_ref()));
    }

    /// Adds a text, or null.
    pub(in crate::commands) fn maybe_text(&mut self, name: &str, value: Option<impl AsRef<[u8]>>) {
        self.with(name, |reply| match value {
            Some(value) => reply.bulk(value.as_ref()),
            None => reply.null(),
        });
    }

    /// Adds a number.
    pub(in crate::commands) fn count(&mut self, name: &str, value: u64) {
        self.with(name, |reply| reply.count(value));
    }

    /// Adds a time in microseconds, or null.
    pub(in crate::commands) fn micros(&mut self, name: &str, value: Option<Duration>) {
        self.with(name, |reply| match value {
            Some(value) => reply.double(value.as_nanos() as f64 / 1000.0),
            None => reply.null(),
        });
    }

    /// Adds a map.
    pub(in crate::commands) fn map(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::new(&self.encoder);
        fill(&mut inner);
        self.with(name, |reply| inner.finish(reply));
    }

    /// Writes the map.
    pub(in crate::commands) fn finish(mut self, reply: &mut Encoder) {
        reply.map(self.count);
        reply.raw(&self.encoder.take());
    }
}
