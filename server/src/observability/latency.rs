//! Keeps when something took long, for `LATENCY`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;

use crate::process::figures::unix_seconds;

/// Entries that are kept of each event, as with Redis.
const ENTRIES_MAX: usize = 160;

/// The worst latency of an event in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LatencyEntry {
    pub(crate) unix_seconds: u64,
    pub(crate) millis: u64,
}

/// The record of one event.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatencyEvent {
    /// The oldest first, one for each second in which something took long.
    pub(crate) entries: VecDeque<LatencyEntry>,
    pub(crate) millis_max: u64,
}

/// The events in which something took long.
#[derive(Debug, Default)]
pub(crate) struct LatencyMonitor(Mutex<BTreeMap<&'static str, LatencyEvent>>);

impl LatencyMonitor {
    /// Records that something took long.
    #[cold]
    pub(crate) fn record(&self, event: &'static str, took: Duration) {
        self.record_at(event, took, unix_seconds());
    }

    fn record_at(&self, event: &'static str, took: Duration, unix_seconds: u64) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let mut events = self.0.lock();
        let event = events.entry(event).or_default();
        event.millis_max = event.millis_max.max(millis);
        match event.entries.back_mut() {
            Some(last) if last.unix_seconds == unix_seconds => {
                last.millis = last.millis.max(millis);
            }
            _ => {
                if event.entries.len() == ENTRIES_MAX {
                    event.entries.pop_front();
                }
                event.entries.push_back(LatencyEntry {
                    unix_seconds,
                    millis,
                });
            }
        }
    }

    /// Returns every event with what is kept of it.
    pub(crate) fn events(&self) -> Vec<(&'static str, LatencyEvent)> {
        let events = self.0.lock();
        events
            .iter()
            .map(|(name, it)| (*name, it.clone()))
            .collect()
    }

    /// Forgets the events that `chosen` returns true for; returns their number.
    pub(crate) fn reset(&self, chosen: impl Fn(&str) -> bool) -> usize {
        let mut events = self.0.lock();
        let before = events.len();
        events.retain(|name, _| !chosen(name));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ENTRIES_MAX, LatencyEntry, LatencyMonitor};

    #[test]
    fn a_second_has_one_entry_and_old_ones_go() {
        let monitor = LatencyMonitor::default();
        for (millis, second) in [(30, 1), (20, 1), (40, 2)] {
            monitor.record_at("command", Duration::from_millis(millis), second);
        }
        let events = monitor.events();
        let (name, event) = &events[0];
        assert_eq!((*name, event.millis_max), ("command", 40));
        let expected = [(1, 30), (2, 40)].map(|(unix_seconds, millis)| LatencyEntry {
            unix_seconds,
            millis,
        });
        assert!(event.entries.iter().eq(&expected));
        for second in 0..1000 {
            monitor.record_at("function", Duration::from_millis(1), second);
        }
        assert_eq!(monitor.events()[1].1.entries.len(), ENTRIES_MAX);
        assert_eq!(monitor.reset(|name| name == "function"), 1);
        assert_eq!(monitor.reset(|_| true), 1);
        assert!(monitor.events().is_empty());
    }
}
