//! Keeps the requests that users were refused, for `ACL LOG`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Entries that are kept, as with Redis.
const ENTRIES_MAX: usize = 128;

/// Refusals of one kind within this time are counted as one entry.
const SAME_WITHIN: Duration = Duration::from_secs(60);

/// Longest name of what was refused, in bytes.
const OBJECT_BYTES_MAX: usize = 256;

/// A kind of refusals.
#[derive(Clone, Debug)]
pub(crate) struct AclLogEntry {
    pub(crate) id: u64,
    pub(crate) count: u64,
    pub(crate) reason: &'static str,
    pub(crate) place: &'static str,
    pub(crate) object: String,
    pub(crate) user: String,
    /// The line of the last client in `CLIENT LIST`.
    pub(crate) client: String,
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

/// The newest refusals.
#[derive(Debug, Default)]
pub(crate) struct AclLog(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// The newest first.
    entries: VecDeque<AclLogEntry>,
    next_id: u64,
}

impl AclLog {
    /// Records a refusal. `reason` is the kind of thing that was refused, `object` its name.
    #[cold]
    pub(crate) fn record(
        &self,
        reason: &'static str,
        place: &'static str,
        object: String,
        user: &str,
        client: String,
    ) {
        let now = Instant::now();
        let mut object = object;
        object.truncate(object.floor_char_boundary(OBJECT_BYTES_MAX));
        let mut log = self.0.lock();
        let same = log.entries.iter_mut().find(|entry| {
            entry.reason == reason
                && entry.place == place
                && entry.object == object
                && entry.user == user
                && now.saturating_duration_since(entry.last) < SAME_WITHIN
        });
        if let Some(entry) = same {
            entry.count += 1;
            entry.last = now;
            entry.client = client;
            return;
        }
        let entry = AclLogEntry {
            id: log.next_id,
            count: 1,
            reason,
            place,
            object,
            user: user.to_owned(),
            client,
            first: now,
            last: now,
        };
        log.next_id += 1;
        log.entries.push_front(entry);
        log.entries.truncate(ENTRIES_MAX);
    }

    /// Returns the newest entries, at most `count_max`.
    pub(crate) fn newest(&self, count_max: usize) -> Vec<AclLogEntry> {
        self.0
            .lock()
            .entries
            .iter()
            .take(count_max)
            .cloned()
            .collect()
    }

    /// Forgets all entries.
    pub(crate) fn clear(&self) {
        self.0.lock().entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{AclLog, ENTRIES_MAX};

    #[test]
    fn the_same_is_counted_and_the_oldest_forgotten() {
        let log = AclLog::default();
        for _ in 0..3 {
            log.record("key", "toplevel", "k".repeat(1000), "app", "a".into());
        }
        log.record("key", "multi", "k".into(), "app", "b".into());
        let entries = log.newest(10);
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[1].count, entries[1].object.len()), (3, 256));
        for number in 0..1000 {
            log.record(
                "command",
                "toplevel",
                number.to_string(),
                "app",
                String::new(),
            );
        }
        assert_eq!(log.newest(usize::MAX).len(), ENTRIES_MAX);
        log.clear();
        assert!(log.newest(1).is_empty());
    }
}
