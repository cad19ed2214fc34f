//! Clients that watch the requests of all others, by `MONITOR`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;

use crate::clients::pubsub::mailbox::{Mailbox, Message};

/// Bytes of a word that are shown.
const WORD_BYTES_MAX: usize = 1024;
/// Words of a request that are shown.
const WORDS_MAX: usize = 128;

/// The clients that watch.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    /// Read for each request without the lock, so that nothing else is done while nobody watches.
    count: AtomicUsize,
    /// Mailboxes by the clients' ids.
    watching: RwLock<BTreeMap<u64, Arc<Mailbox>>>,
}

impl Monitors {
    /// Returns true if anybody watches.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Lets a client watch until the result is dropped.
    pub(super) fn add(self: &Arc<Self>, client: u64, mailbox: Arc<Mailbox>) -> Monitor {
        self.change(|watching| {
            watching.insert(client, mailbox);
        });
        Monitor {
            client,
            all: Arc::clone(self),
        }
    }

    /// Shows a request to all who watch.
    pub(crate) fn show(&self, database: u32, peer: SocketAddr, argv: &[&[u8]]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let mut line = format!(
            "{}.{:06} [{database} {peer}]",
            now.as_secs(),
            now.subsec_micros()
        );
        push_words(&mut line, argv);
        let line: Arc<str> = line.into();
        for mailbox in self.watching.read().values() {
            mailbox.put(Message::Request(Arc::clone(&line)));
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<u64, Arc<Mailbox>>)) {
        let mut watching = self.watching.write();
        change(&mut watching);
        self.count.store(watching.len(), Ordering::Relaxed);
    }
}

/// A client that watches until this is dropped.
#[derive(Debug)]
pub(super) struct Monitor {
    client: u64,
    all: Arc<Monitors>,
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.all.change(|watching| {
            watching.remove(&self.client);
        });
    }
}

/// Adds the words of a request to a line, each in quotes, as Redis shows them.
fn push_words(line: &mut String, argv: &[&[u8]]) {
    let shown = argv.len().min(WORDS_MAX);
    for word in &argv[..shown] {
        let start = &word[..word.len().min(WORD_BYTES_MAX)];
        line.push_str(" \"");
        for &byte in start {
            push_escaped(line, byte);
        }
        let more = word.len() - start.len();
        if more > 0 {
            let _ = write!(line, "... ({more} more bytes)");
        }
        line.push('"');
    }
    if argv.len() > shown {
        let _ = write!(line, " \"... ({} more arguments)\"", argv.len() - shown);
    }
}

/// Adds a byte in the notation of Redis, which keeps a line a line.
fn push_escaped(line: &mut String, byte: u8) {
    match byte {
        b'"' | b'\\' => {
            line.push('\\');
            line.push(byte.into());
        }
        b'\n' => line.push_str("\\n"),
        b'\r' => line.push_str("\\r"),
        b'\t' => line.push_str("\\t"),
        0x07 => line.push_str("\\a"),
        0x08 => line.push_str("\\b"),
        b' '..=b'~' => line.push(byte.into()),
        _ => {
            let _ = write!(line, "\\x{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::push_words;

    fn shown(argv: &[&[u8]]) -> String {
        let mut line = String::new();
        push_words(&mut line, argv);
        line
    }

    #[test]
    fn words_are_shown_as_redis_shows_them() {
        assert_eq!(
            shown(&[b"set", b"a b", b"\"\\\r\n\t\x07\x08\x00\xc3~"]),
            r#" "set" "a b" "\"\\\r\n\t\a\b\x00\xc3~""#
        );
    }

    #[test]
    fn long_requests_are_cut() {
        let long = [b'x'; 1030];
        let line = shown(&[&long]);
        assert!(
            line.ends_with("x... (6 more bytes)\"") && line.len() < 1060,
            "{line}"
        );
        let line = shown(&[&b"w"[..]; 130]);
        assert!(
            line.ends_with(" \"w\" \"... (2 more arguments)\""),
            "{line}"
        );
    }
}
