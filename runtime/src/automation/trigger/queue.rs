//! The events that wait to be delivered: in order for each trigger and key.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

use crate::scheduling::moment::Moment;

/// Most events that may wait before writes of clients have to wait, too.
pub(crate) const PENDING_MAX: usize = 100_000;

/// Most bytes of their records.
pub(crate) const PENDING_BYTES_MAX: usize = 64 << 20;

/// Most deliveries at the same time.
const RUNNING_MAX: usize = 32;

/// Tries of an event before it is given up.
pub(crate) const TRIES_MAX: u32 = 10;

/// Pause after the first try that failed; it doubles with each further one.
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);

/// Longest pause between two tries.
const BACK_OFF_MAX: Duration = Duration::from_secs(10);

/// The events of one key for one trigger, which are delivered one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LaneKey {
    pub(crate) trigger: Arc<[u8]>,
    pub(crate) database: u32,
    pub(crate) key: Arc<[u8]>,
}

/// All events that wait.
#[derive(Debug, Default)]
pub(crate) struct EventQueue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<LaneKey, Lane>,
    /// Lanes whose first event can be delivered.
    ready: VecDeque<LaneKey>,
    /// Lanes whose first event failed, until their pause is over.
    paused: BTreeSet<(Moment, LaneKey)>,
    pending: Pending,
    running: usize,
    waiting: Option<Waker>,
}

/// Counts of the events that wait.
#[derive(Debug, Default)]
struct Pending {
    events: usize,
    bytes: usize,
    /// Number of events of each trigger that has any, so that telling it takes no look at each of them.
    by_trigger: HashMap<Arc<[u8]>, usize>,
}

/// An event by the number and the length of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    number: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Lane {
    events: VecDeque<Waiting>,
    /// Tries of the first event so far.
    tries: u32,
    /// True while the first event is being delivered.
    running: bool,
}

impl Lane {
    /// Returns true if this event is the first one.
    fn begins_with(&self, number: u64) -> bool {
        let first = self.events.front();
        first.is_some_and(|first| first.number == number)
    }
}

/// The right to deliver the first event of a lane; dropping it leaves the event there.
#[derive(Debug)]
pub(crate) struct Turn {
    queue: Arc<EventQueue>,
    pub(crate) lane: LaneKey,
    pub(crate) number: u64,
    /// Number of this try, from 1 on.
    pub(crate) attempt: u32,
    settled: bool,
}

/// The next thing to do.
pub(crate) enum Next {
    /// This event can be delivered.
    Due(Turn),
    /// One can be tried again at this moment, if nothing changes.
    At(Moment),
    /// None can, if nothing changes.
    Never,
}

/// The events that wait, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) pending: usize,
    pub(crate) bytes: usize,
}

impl EventQueue {
    /// Adds an event to the end of its lane.
    pub(crate) fn push(&self, lane: LaneKey, number: u64, bytes: usize) {
        let mut state = self.0.lock();
        state.pending.add(&lane.trigger, bytes);
        let entry = state.lanes.entry(lane.clone()).or_default();
        entry.events.push_back(Waiting { number, bytes });
        if entry.events.len() == 1 {
            state.ready.push_back(lane);
            state.wake();
        }
    }

    /// Returns true if writes have to wait until events are delivered.
    pub(crate) fn is_full(&self) -> bool {
        let Usage { pending, bytes } = self.usage();
        pending >= PENDING_MAX || bytes >= PENDING_BYTES_MAX
    }

    pub(crate) fn usage(&self) -> Usage {
        let state = self.0.lock();
        Usage {
            pending: state.pending.events,
            bytes: state.pending.bytes,
        }
    }

    /// Returns the number of events of a trigger that wait.
    pub(crate) fn count_of(&self, trigger: &[u8]) -> usize {
        let state = self.0.lock();
        state
            .pending
            .by_trigger
            .get(trigger)
            .copied()
            .unwrap_or_default()
    }

    /// Returns the moment at which a pause ends, the earliest one.
    pub(crate) fn next_moment(&self) -> Option<Moment> {
        let state = self.0.lock();
        state.paused.first().map(|(moment, _)| *moment)
    }

    /// Returns what can be delivered at `now`; `waker` is woken when that may have changed.
    pub(crate) fn next(self: &Arc<Self>, now: Moment, waker: &Waker) -> Next {
        let mut state = self.0.lock();
        state.waiting = Some(waker.clone());
        if state.running >= RUNNING_MAX {
            return Next::Never;
        }
        while let Some((moment, _)) = state.paused.first()
            && *moment <= now
            && let Some((_, lane)) = state.paused.pop_first()
        {
            state.ready.push_back(lane);
        }
        while let Some(lane) = state.ready.pop_front() {
            // A lane that is gone, or runs, may still be here.
            let Some(entry) = state.lanes.get_mut(&lane) else {
                continue;
            };
            let Some(first) = entry.events.front().copied() else {
                continue;
            };
            if entry.running {
                continue;
            }
            entry.running = true;
            let attempt = entry.tries + 1;
            state.running += 1;
            return Next::Due(Turn {
                queue: Arc::clone(self),
                lane,
                number: first.number,
                attempt,
                settled: false,
            });
        }
        let paused = state.paused.first();
        paused.map_or(Next::Never, |(moment, _)| Next::At(*moment))
    }

    /// Returns the numbers of the events of a trigger.
    pub(crate) fn events_of(&self, trigger: &[u8]) -> Vec<u64> {
        let state = self.0.lock();
        let lanes = state.lanes.iter();
        lanes
            .filter(|(lane, _)| *lane.trigger == *trigger)
            .flat_map(|(_, entry)| entry.events.iter().map(|waiting| waiting.number))
            .collect()
    }

    /// Removes events of a trigger by their numbers. One that is being delivered stays until that is over.
    pub(crate) fn remove_events(&self, trigger: &[u8], numbers: &[u64]) {
        let numbers: HashSet<u64> = numbers.iter().copied().collect();
        let mut state = self.0.lock();
        let state = &mut *state;
        let pending = &mut state.pending;
        state.lanes.retain(|lane, entry| {
            if *lane.trigger != *trigger {
                return true;
            }
            let first = entry.events.front().copied();
            let running = entry.running.then(|| entry.events.pop_front()).flatten();
            entry.events.retain(|waiting| {
                let stays = !numbers.contains(&waiting.number);
                if !stays {
                    pending.remove(&lane.trigger, waiting.bytes);
                }
                stays
            });
            if let Some(first) = running {
                entry.events.push_front(first);
            }
            if entry.events.front() != first.as_ref() {
                entry.tries = 0;
            }
            !entry.events.is_empty()
        });
        state.forget_gone_lanes();
    }
}

impl EventQueue {
    /// Forgets these events. One that is being delivered stays until that is over.
    pub(crate) fn forget(&self, numbers: &HashSet<u64>) {
        let mut state = self.0.lock();
        let state = &mut *state;
        let pending = &mut state.pending;
        state.lanes.retain(|lane, entry| {
            let delivered = entry.running.then(|| entry.events.pop_front()).flatten();
            let first = entry.events.front().copied();
            entry.events.retain(|waiting| {
                let gone = numbers.contains(&waiting.number);
                if gone {
                    pending.remove(&lane.trigger, waiting.bytes);
                }
                !gone
            });
            match delivered {
                Some(delivered) => entry.events.push_front(delivered),
                // The next one has not been tried yet.
                None if entry.events.front().copied() != first => entry.tries = 0,
                None => {}
            }
            !entry.events.is_empty()
        });
        state.forget_gone_lanes();
    }

    /// Forgets all events. A delivery that has begun ends undisturbed.
    pub(crate) fn clear(&self) {
        let mut state = self.0.lock();
        let running = state.running;
        let waiting = state.waiting.take();
        *state = State {
            running,
            waiting,
            ..State::default()
        };
    }
}

impl Pending {
    fn add(&mut self, trigger: &Arc<[u8]>, bytes: usize) {
        self.events += 1;
        self.bytes += bytes;
        match self.by_trigger.get_mut(trigger) {
            Some(count) => *count += 1,
            None => {
                self.by_trigger.insert(Arc::clone(trigger), 1);
            }
        }
    }

    fn remove(&mut self, trigger: &Arc<[u8]>, bytes: usize) {
        self.events -= 1;
        self.bytes -= bytes;
        if let Some(count) = self.by_trigger.get_mut(trigger) {
            *count -= 1;
            if *count == 0 {
                self.by_trigger.remove(trigger);
            }
        }
    }
}

impl State {
    /// Takes lanes that are gone out of those that are ready or pause.
    fn forget_gone_lanes(&mut self) {
        let lanes = &self.lanes;
        self.ready.retain(|lane| lanes.contains_key(lane));
        self.paused.retain(|(_, lane)| lanes.contains_key(lane));
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// The fate of an event whose turn is over.
enum After {
    Gone,
    /// It was tried and is tried again.
    Retried,
    /// It was not tried.
    Paused(Duration),
}

impl Turn {
    /// Removes the event, which was delivered or given up.
    pub(crate) fn finish(mut self) {
        self.settle(&After::Gone);
    }

    /// Lets the event be tried again after a pause, which doubles with each try.
    pub(crate) fn retry(mut self) {
        self.settle(&After::Retried);
    }

    /// Lets the event be tried after a pause; nothing was tried yet.
    pub(crate) fn pause(mut self, pause: Duration) {
        self.settle(&After::Paused(pause));
    }

    fn settle(&mut self, after: &After) {
        self.settled = true;
        let mut state = self.queue.0.lock();
        let state = &mut *state;
        state.running -= 1;
        let Some(entry) = state.lanes.get_mut(&self.lane) else {
            state.wake();
            return;
        };
        if !entry.begins_with(self.number) {
            // The events were forgotten meanwhile, and others came.
            state.wake();
            return;
        }
        entry.running = false;
        let pause = match after {
            After::Gone => None,
            After::Retried => {
                entry.tries += 1;
                let doubled = BACK_OFF_FIRST.saturating_mul(1 << (entry.tries - 1).min(16));
                Some(doubled.min(BACK_OFF_MAX))
            }
            After::Paused(pause) => Some(*pause),
        };
        if let Some(pause) = pause {
            let moment = Moment::now().after(pause);
            state.paused.insert((moment, self.lane.clone()));
        } else {
            entry.tries = 0;
            if let Some(waiting) = entry.events.pop_front() {
                state.pending.remove(&self.lane.trigger, waiting.bytes);
            }
            if entry.events.is_empty() {
                state.lanes.remove(&self.lane);
            } else {
                state.ready.push_back(self.lane.clone());
            }
        }
        state.wake();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut state = self.queue.0.lock();
        state.running -= 1;
        if let Some(entry) = state.lanes.get_mut(&self.lane)
            && entry.begins_with(self.number)
        {
            entry.running = false;
            state.ready.push_front(self.lane.clone());
        }
        state.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::task::Waker;
    use std::time::Duration;

    use super::{BACK_OFF_FIRST, EventQueue, LaneKey, Next, RUNNING_MAX, Turn};
    use crate::scheduling::moment::Moment;

    fn lane(key: &str) -> LaneKey {
        LaneKey {
            trigger: b"t".as_slice().into(),
            database: 0,
            key: key.as_bytes().into(),
        }
    }

    fn next(queue: &Arc<EventQueue>, now: Moment) -> Option<Turn> {
        match queue.next(now, Waker::noop()) {
            Next::Due(turn) => Some(turn),
            Next::At(_) | Next::Never => None,
        }
    }

    #[test]
    fn one_key_is_delivered_in_order_and_others_meanwhile() {
        let queue = Arc::new(EventQueue::default());
        for (key, number) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
            queue.push(lane(key), number, 10);
        }
        let now = Moment::now();
        let first = next(&queue, now).expect("a");
        let other = next(&queue, now).expect("b");
        assert_eq!((first.number, other.number), (1, 3));
        assert!(
            next(&queue, now).is_none(),
            "the rest waits for the first of its key"
        );
        first.finish();
        let second = next(&queue, now).expect("a again");
        assert_eq!(second.number, 2);
        drop(second);
        let again = next(&queue, now).expect("it was not settled");
        assert_eq!((again.number, again.attempt), (2, 1));
        again.finish();
        other.finish();
        assert_eq!(queue.usage().pending, 1);
        next(&queue, now).expect("the last").finish();
        assert_eq!(queue.usage(), super::Usage::default());
    }

    #[test]
    fn a_delivery_of_forgotten_events_leaves_later_ones_alone() {
        let queue = Arc::new(EventQueue::default());
        queue.push(lane("a"), 1, 10);
        let now = Moment::now();
        let old = next(&queue, now).expect("the first");
        queue.clear();
        assert_eq!(queue.usage(), super::Usage::default());
        queue.push(lane("a"), 2, 10);
        let new = next(&queue, now).expect("the second");
        old.finish();
        assert_eq!(queue.usage().pending, 1);
        assert!(next(&queue, now).is_none(), "it is being delivered");
        new.finish();
        assert_eq!(queue.usage(), super::Usage::default());
    }

    #[test]
    fn events_that_vanished_are_forgotten_and_others_are_delivered() {
        let queue = Arc::new(EventQueue::default());
        for (key, number) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("c", 6)] {
            queue.push(lane(key), number, 10);
        }
        let now = Moment::now();
        let running = next(&queue, now).expect("of a");
        next(&queue, now).expect("of b").retry();
        next(&queue, now).expect("of c").retry();
        queue.forget(&HashSet::from([1, 2, 4, 5, 99]));
        // The first one is still being delivered.
        assert_eq!((queue.usage().pending, queue.usage().bytes), (3, 30));
        assert_eq!((queue.count_of(b"t"), queue.count_of(b"u")), (3, 0));
        running.finish();
        let third = next(&queue, now).expect("of a");
        assert_eq!(third.number, 3);
        third.finish();
        let later = now.after(BACK_OFF_FIRST + Duration::from_secs(1));
        let last = next(&queue, later).expect("of c");
        assert_eq!((last.number, last.attempt), (6, 1));
        last.finish();
        assert_eq!(queue.usage(), super::Usage::default());
        queue.push(lane("b"), 7, 10);
        let again = next(&queue, later).expect("of b");
        assert_eq!((again.number, again.attempt), (7, 1));
    }

    #[test]
    fn a_pause_counts_as_no_try() {
        let queue = Arc::new(EventQueue::default());
        queue.push(lane("a"), 1, 10);
        let now = Moment::now();
        next(&queue, now).expect("a").pause(BACK_OFF_FIRST);
        assert!(next(&queue, now).is_none());
        let later = now.after(BACK_OFF_FIRST + Duration::from_secs(1));
        let again = next(&queue, later).expect("the pause is over");
        assert_eq!((again.number, again.attempt), (1, 1));
    }

    #[test]
    fn a_failure_holds_its_own_key_back_alone() {
        let queue = Arc::new(EventQueue::default());
        queue.push(lane("a"), 1, 10);
        queue.push(lane("a"), 2, 10);
        let now = Moment::now();
        next(&queue, now).expect("a").retry();
        queue.push(lane("b"), 3, 10);
        let other = next(&queue, now).expect("b is not held back");
        assert_eq!(other.number, 3);
        assert!(next(&queue, now).is_none());
        let later = Moment::now().after(BACK_OFF_FIRST + Duration::from_secs(1));
        let again = next(&queue, later).expect("the pause is over");
        assert_eq!((again.number, again.attempt), (1, 2));
    }

    #[test]
    fn deliveries_are_bounded_and_a_removed_trigger_leaves_nothing() {
        let queue = Arc::new(EventQueue::default());
        for number in 0..100 {
            queue.push(lane(&number.to_string()), number, 1);
        }
        let now = Moment::now();
        let turns: Vec<_> = std::iter::from_fn(|| next(&queue, now)).collect();
        assert_eq!(turns.len(), RUNNING_MAX);
        let all = queue.events_of(b"t");
        queue.remove_events(b"other", &all);
        assert_eq!(queue.events_of(b"t").len(), 100);
        queue.push(lane("99"), 100, 1);
        queue.remove_events(b"t", &all);
        assert_eq!(queue.events_of(b"t").len(), RUNNING_MAX + 1);
        for turn in turns {
            turn.finish();
        }
        assert_eq!(queue.count_of(b"t"), 1);
        let late = next(&queue, now).expect("it came later");
        assert_eq!(late.number, 100);
        late.finish();
        assert_eq!(queue.count_of(b"t"), 0);
        assert_eq!(queue.usage(), super::Usage::default());
        assert!(next(&queue, now).is_none());
    }

    #[test]
    fn a_removed_trigger_leaves_no_pause() {
        let queue = Arc::new(EventQueue::default());
        for (key, number) in [("a", 1), ("b", 2)] {
            queue.push(lane(key), number, 1);
        }
        let now = Moment::now();
        next(&queue, now).expect("a").retry();
        assert!(queue.next_moment().is_some());
        queue.remove_events(b"t", &[1, 2]);
        assert_eq!(queue.next_moment(), None);
        assert!(matches!(queue.next(now, Waker::noop()), Next::Never));
    }
}
