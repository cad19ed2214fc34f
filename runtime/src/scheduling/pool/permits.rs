//! Permits to run a call, and the idle items that belong to them.

use std::collections::VecDeque;

use crate::scheduling::moment::Moment;

/// A permit to run one call, and the item that an earlier call left, if there is one.
///
/// A pool has `instances_max` permits. Each is in one shard, with a running call, or granted to a
/// waiting call that has not been polled yet.
#[derive(Debug)]
pub(crate) struct Permit<T> {
    pub(crate) item: Option<T>,
}

/// The free permits of one shard.
#[derive(Debug)]
pub(crate) struct PermitShard<T> {
    free: usize,
    /// At most `free` items, so that a pool never keeps more than it has permits. The item that was
    /// used last is at the end.
    idle: VecDeque<Idle<T>>,
    /// Number of calls that have started here; wraps.
    started: u64,
}

#[derive(Debug)]
struct Idle<T> {
    item: T,
    /// The first look that found it idle; none yet if it became idle since.
    since: Option<Moment>,
}

impl<T> PermitShard<T> {
    /// Creates `free` permits without items.
    pub(crate) fn new(free: usize) -> Self {
        Self {
            free,
            idle: VecDeque::new(),
            started: 0,
        }
    }

    /// Returns the number of free permits.
    pub(crate) fn free(&self) -> usize {
        self.free
    }

    /// Returns the number of idle items.
    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// See [`PermitShard::start`].
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// Counts a call that starts. Returns its number, which wraps.
    pub(crate) fn start(&mut self) -> u64 {
        self.started = self.started.wrapping_add(1);
        self.started
    }

    /// Takes a permit with the item that was used last.
    pub(crate) fn take(&mut self) -> Option<Permit<T>> {
        self.free = self.free.checked_sub(1)?;
        let item = self.idle.pop_back().map(|idle| idle.item);
        Some(Permit { item })
    }

    /// Takes the item that was idle for the longest time, for another shard.
    pub(crate) fn take_oldest(&mut self) -> Option<T> {
        self.idle.pop_front().map(|idle| idle.item)
    }

    /// Puts a permit back.
    pub(crate) fn put(&mut self, permit: Permit<T>) {
        self.free += 1;
        if let Some(item) = permit.item {
            self.idle.push_back(Idle { item, since: None });
        }
    }

    /// Adds an idle item if a permit has none; else returns it.
    pub(crate) fn stock(&mut self, item: T) -> Option<T> {
        if self.idle.len() == self.free {
            return Some(item);
        }
        self.idle.push_back(Idle { item, since: None });
        None
    }

    /// Dates the items that became idle since the last look: they are idle since `now`.
    pub(crate) fn date(&mut self, now: Moment) {
        let new = self.idle.iter_mut().rev();
        for idle in new.take_while(|idle| idle.since.is_none()) {
            idle.since = Some(now);
        }
    }

    /// Returns since when the oldest item is idle; nothing before a look has dated it.
    pub(crate) fn oldest(&self) -> Option<Moment> {
        self.idle.front()?.since
    }

    /// Removes all idle items.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.idle.drain(..).map(|idle| idle.item)
    }

    /// Iterates over the idle items.
    pub(crate) fn items(&self) -> impl Iterator<Item = &T> {
        self.idle.iter().map(|idle| &idle.item)
    }
}
