//! The right to run a call, and the idle things that go with it.

use std::collections::VecDeque;

use crate::scheduling::epoch_ticker::Moment;

/// The right to run one call, and what an earlier call left behind, if there is anything.
///
/// A pool has `instances_max` of them. Each is in one lane, with a call, or with one that waits and
/// does not know of it yet.
#[derive(Debug)]
pub(crate) struct Permit<T> {
    pub(crate) item: Option<T>,
}

/// A lane's turns that nobody has now.
#[derive(Debug)]
pub(crate) struct PermitShard<T> {
    free: usize,
    /// No more than `free`, so that a pool never keeps more than it has turns. Used last at the end.
    idle: VecDeque<Idle<T>>,
    /// Calls that ever started here, wrapping.
    started: u64,
}

#[derive(Debug)]
struct Idle<T> {
    item: T,
    since: Moment,
}

impl<T> PermitShard<T> {
    /// So many turns with nothing.
    pub(crate) fn new(free: usize) -> Self {
        Self {
            free,
            idle: VecDeque::new(),
            started: 0,
        }
    }

    /// How many there are.
    pub(crate) fn free(&self) -> usize {
        self.free
    }

    /// Idle things.
    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// See [`PermitShard::start`].
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// Counts a call that starts; its number, wrapping.
    pub(crate) fn start(&mut self) -> u64 {
        self.started = self.started.wrapping_add(1);
        self.started
    }

    /// Takes a turn, with what was used last.
    pub(crate) fn take(&mut self) -> Option<Permit<T>> {
        self.free = self.free.checked_sub(1)?;
        let item = self.idle.pop_back().map(|idle| idle.item);
        Some(Permit { item })
    }

    /// Takes what was not used for the longest time, for another lane.
    pub(crate) fn take_oldest(&mut self) -> Option<T> {
        self.idle.pop_front().map(|idle| idle.item)
    }

    /// Puts a turn back, as of `now`.
    pub(crate) fn put(&mut self, permit: Permit<T>, now: Moment) {
        self.free += 1;
        if let Some(item) = permit.item {
            self.idle.push_back(Idle { item, since: now });
        }
    }

    /// Adds an idle thing if there is a turn without one; else gives it back.
    pub(crate) fn stock(&mut self, item: T, now: Moment) -> Option<T> {
        if self.idle.len() == self.free {
            return Some(item);
        }
        self.idle.push_back(Idle { item, since: now });
        None
    }

    /// Since when the thing that was not used for the longest time is idle.
    pub(crate) fn oldest(&self) -> Option<Moment> {
        self.idle.front().map(|idle| idle.since)
    }

    /// Takes out everything idle.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.idle.drain(..).map(|idle| idle.item)
    }

    /// The idle things.
    pub(crate) fn items(&self) -> impl Iterator<Item = &T> {
        self.idle.iter().map(|idle| &idle.item)
    }
}
