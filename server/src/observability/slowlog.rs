//! Keeps the newest slow calls, for `SLOWLOG`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::process::figures::unix_seconds;

/// Most words of a request that are kept, as with Redis.
const WORDS_MAX: usize = 32;

/// Most bytes of a word that are kept, as with Redis.
const WORD_BYTES_MAX: usize = 128;

/// A slow call.
#[derive(Clone, Debug)]
pub(crate) struct SlowCall {
    /// Counts from 0.
    pub(crate) id: u64,
    pub(crate) unix_seconds: u64,
    pub(crate) took: Duration,
    /// The request, shortened.
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) peer: String,
    pub(crate) client_name: String,
}

/// The newest slow calls.
#[derive(Debug)]
pub(crate) struct SlowCalls {
    kept_max: AtomicUsize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    calls: VecDeque<SlowCall>,
    next_id: u64,
}

impl SlowCalls {
    pub(crate) fn new(kept_max: usize) -> Self {
        Self {
            kept_max: AtomicUsize::new(kept_max),
            entries: Mutex::default(),
        }
    }

    /// Changes how many are kept.
    pub(crate) fn keep(&self, kept_max: usize) {
        self.kept_max.store(kept_max, Ordering::Relaxed);
        self.entries.lock().calls.truncate(kept_max);
    }

    /// Adds a call, and removes the oldest if there are too many.
    pub(crate) fn record(&self, took: Duration, words: Vec<Vec<u8>>, peer: String, name: String) {
        let unix_seconds = unix_seconds();
        let mut entries = self.entries.lock();
        let call = SlowCall {
            id: entries.next_id,
            unix_seconds,
            took,
            words,
            peer,
            client_name: name,
        };
        entries.next_id += 1;
        entries.calls.push_front(call);
        entries
            .calls
            .truncate(self.kept_max.load(Ordering::Relaxed));
    }

    /// Returns the newest calls, at most `count_max`.
    pub(crate) fn newest(&self, count_max: usize) -> Vec<SlowCall> {
        self.entries
            .lock()
            .calls
            .iter()
            .take(count_max)
            .cloned()
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().calls.len()
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().calls.clear();
    }
}

/// Returns a request shortened to the limits above; it says how much was left out.
pub(crate) fn shortened<'a>(request: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let words = request.len();
    let mut kept: Vec<Vec<u8>> = request
        .take(if words > WORDS_MAX {
            WORDS_MAX - 1
        } else {
            WORDS_MAX
        })
        .map(|word| match word.len().checked_sub(WORD_BYTES_MAX) {
            Some(more @ 1..) => {
                let mut kept = word[..WORD_BYTES_MAX].to_vec();
                kept.extend(format!("... ({more} more bytes)").into_bytes());
                kept
            }
            _ => word.to_vec(),
        })
        .collect();
    if words > WORDS_MAX {
        let more = words - kept.len();
        kept.push(format!("... ({more} more arguments)").into_bytes());
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{SlowCalls, shortened};

    #[test]
    fn the_newest_calls_are_kept() {
        let calls = SlowCalls::new(2);
        for millis in 1..=3 {
            calls.record(
                Duration::from_millis(millis),
                Vec::new(),
                String::new(),
                String::new(),
            );
        }
        let ids: Vec<u64> = calls.newest(10).iter().map(|call| call.id).collect();
        assert_eq!(ids, [2, 1]);
        assert_eq!(calls.newest(1)[0].took, Duration::from_millis(3));
        calls.keep(1);
        assert_eq!(calls.len(), 1);
        calls.clear();
        assert_eq!(calls.len(), 0);
    }

    #[test]
    fn long_requests_are_shortened() {
        let words: Vec<Vec<u8>> = (0..100).map(|_| vec![b'x'; 200]).collect();
        let kept = shortened(words.iter().map(Vec::as_slice));
        assert_eq!(kept.len(), 32);
        assert!(kept[0].ends_with(b"... (72 more bytes)"));
        assert_eq!(kept[31], b"... (69 more arguments)");
        let short = shortened([&b"a"[..], b""].into_iter());
        assert_eq!(short, [b"a".to_vec(), b"".to_vec()]);
    }
}
