//! The requests that wait to be sent: those to one server do not hold up those to another.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

use crate::scheduling::moment::Moment;

/// Most bytes of the records of requests that wait.
pub(crate) const PENDING_BYTES_MAX: usize = 64 << 20;

/// Most requests that are being sent at the same time.
const RUNNING_MAX: usize = 32;

/// Most of them to one origin.
const RUNNING_PER_ORIGIN_MAX: usize = 4;

/// Pause after the first try that failed; it doubles with each further one.
const BACK_OFF_FIRST: Duration = Duration::from_millis(200);

/// Longest pause between two tries.
pub(crate) const BACK_OFF_MAX: Duration = Duration::from_secs(3600);

/// Returns the pause after a request has failed `tries` times.
pub(crate) fn pause_after(tries: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
    BACK_OFF_FIRST.saturating_mul(doubled).min(BACK_OFF_MAX)
}

/// All requests that wait or are being sent.
#[derive(Debug, Default)]
pub(crate) struct RequestQueue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Bytes of the record of each request, by its number.
    known: HashMap<u64, usize>,
    known_bytes: usize,
    lanes: HashMap<Arc<str>, Lane>,
    /// Origins to which one more request can be sent, each once.
    ready: VecDeque<Arc<str>>,
    /// Requests that failed, until their pause is over.
    paused: BTreeMap<(Moment, u64), Arc<str>>,
    running: usize,
    waiting: Option<Waker>,
}

/// The requests to one origin.
#[derive(Debug, Default)]
struct Lane {
    numbers: VecDeque<u64>,
    running: usize,
    /// True if the origin is among those that are ready.
    ready: bool,
}

/// The right to send a request; dropping it leaves the request where it was.
#[derive(Debug)]
pub(crate) struct Turn {
    queue: Arc<RequestQueue>,
    origin: Arc<str>,
    pub(crate) number: u64,
    settled: bool,
}

/// The next thing to do.
pub(crate) enum Next {
    /// This request can be sent.
    Due(Turn),
    /// One can be tried again at this moment, if nothing changes.
    At(Moment),
    /// None can, if nothing changes.
    Never,
}

/// The requests that wait, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) pending: usize,
    pub(crate) bytes: usize,
}

impl RequestQueue {
    /// Adds a request; does nothing for one that is there already. Returns true if it is new.
    pub(crate) fn push(&self, number: u64, origin: &str, bytes: usize) -> bool {
        let mut state = self.0.lock();
        if state.known.contains_key(&number) {
            return false;
        }
        state.known.insert(number, bytes);
        state.known_bytes += bytes;
        let origin = match state.lanes.get_key_value(origin) {
            Some((known, _)) => Arc::clone(known),
            None => origin.into(),
        };
        state.enqueue(&origin, |numbers| numbers.push_back(number));
        true
    }

    /// Forgets all requests. Those that are being sent are not sent again.
    pub(crate) fn clear(&self) {
        let mut state = self.0.lock();
        state.known.clear();
        state.known_bytes = 0;
        state.ready.clear();
        state.paused.clear();
        state.lanes.retain(|_, lane| {
            lane.numbers.clear();
            lane.ready = false;
            lane.running > 0
        });
    }

    /// Forgets these requests. Those that are being sent are not sent again.
    pub(crate) fn forget(&self, numbers: &HashSet<u64>) {
        let mut state = self.0.lock();
        let state = &mut *state;
        for number in numbers {
            state.known_bytes -= state.known.remove(number).unwrap_or_default();
        }
        state
            .paused
            .retain(|(_, number), _| !numbers.contains(number));
        state.lanes.retain(|_, lane| {
            lane.numbers.retain(|number| !numbers.contains(number));
            lane.running > 0 || !lane.numbers.is_empty()
        });
        let lanes = &state.lanes;
        state.ready.retain(|origin| lanes.contains_key(origin));
    }

    /// Returns the numbers of all requests that wait or are being sent.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.0.lock().known.keys().copied().collect()
    }

    pub(crate) fn usage(&self) -> Usage {
        let state = self.0.lock();
        Usage {
            pending: state.known.len(),
            bytes: state.known_bytes,
        }
    }

    /// Returns the moment at which a pause ends, the earliest one.
    pub(crate) fn next_moment(&self) -> Option<Moment> {
        let state = self.0.lock();
        state.paused.keys().next().map(|&(moment, _)| moment)
    }

    /// Returns what can be sent at `now`; `waker` is woken when that may have changed.
    pub(crate) fn next(self: &Arc<Self>, now: Moment, waker: &Waker) -> Next {
        let mut state = self.0.lock();
        state.waiting = Some(waker.clone());
        while let Some(first) = state.paused.first_entry()
            && first.key().0 <= now
        {
            let ((_, number), origin) = first.remove_entry();
            state.enqueue(&origin, |numbers| numbers.push_back(number));
        }
        // Enqueuing has taken the waker.
        state.waiting = Some(waker.clone());
        if state.running >= RUNNING_MAX {
            return Next::Never;
        }
        while let Some(origin) = state.ready.pop_front() {
            let Some(lane) = state.lanes.get_mut(&origin) else {
                continue;
            };
            lane.ready = false;
            let Some(number) = lane.numbers.pop_front() else {
                continue;
            };
            lane.running += 1;
            state.running += 1;
            state.offer(&origin);
            return Next::Due(Turn {
                queue: Arc::clone(self),
                origin,
                number,
                settled: false,
            });
        }
        let first = state.paused.keys().next();
        first.map_or(Next::Never, |&(moment, _)| Next::At(moment))
    }
}

impl State {
    fn enqueue(&mut self, origin: &Arc<str>, add: impl FnOnce(&mut VecDeque<u64>)) {
        let lane = self.lanes.entry(Arc::clone(origin)).or_default();
        add(&mut lane.numbers);
        self.offer(origin);
        self.wake();
    }

    /// Lists an origin as ready if one more request can be sent to it, and forgets one without any.
    fn offer(&mut self, origin: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(origin) else {
            return;
        };
        if lane.numbers.is_empty() {
            if lane.running == 0 {
                self.lanes.remove(origin);
            }
        } else if !lane.ready && lane.running < RUNNING_PER_ORIGIN_MAX {
            lane.ready = true;
            self.ready.push_back(Arc::clone(origin));
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// The fate of a request whose turn is over.
enum After {
    Gone,
    Paused(Duration),
    Next,
}

impl Turn {
    /// Removes the request, which was sent or given up.
    pub(crate) fn finish(mut self) {
        self.settle(&After::Gone);
    }

    /// Lets the request be tried again after a pause.
    pub(crate) fn pause(mut self, pause: Duration) {
        self.settle(&After::Paused(pause));
    }

    fn settle(&mut self, after: &After) {
        self.settled = true;
        let mut state = self.queue.0.lock();
        let state = &mut *state;
        // It may have been forgotten meanwhile.
        let after = if state.known.contains_key(&self.number) {
            after
        } else {
            &After::Gone
        };
        state.running -= 1;
        if let Some(lane) = state.lanes.get_mut(&self.origin) {
            lane.running -= 1;
            if matches!(after, After::Next) {
                lane.numbers.push_front(self.number);
            }
        }
        match after {
            After::Gone => {
                state.known_bytes -= state.known.remove(&self.number).unwrap_or_default();
            }
            After::Paused(pause) => {
                let until = Moment::now().after(*pause);
                let origin = Arc::clone(&self.origin);
                state.paused.insert((until, self.number), origin);
            }
            After::Next => {}
        }
        state.offer(&self.origin);
        state.wake();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(&After::Next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::task::Waker;
    use std::time::Duration;

    use super::{
        BACK_OFF_FIRST, BACK_OFF_MAX, Next, RUNNING_MAX, RUNNING_PER_ORIGIN_MAX, RequestQueue,
        Turn, Usage, pause_after,
    };
    use crate::scheduling::moment::Moment;

    fn next(queue: &Arc<RequestQueue>, now: Moment) -> Option<Turn> {
        match queue.next(now, Waker::noop()) {
            Next::Due(turn) => Some(turn),
            Next::At(_) | Next::Never => None,
        }
    }

    #[test]
    fn a_slow_origin_holds_up_no_other() {
        let queue = Arc::new(RequestQueue::default());
        for number in 0..10 {
            assert!(queue.push(number, "slow", 1));
        }
        assert!(!queue.push(3, "slow", 1), "it is there already");
        queue.push(10, "other", 1);
        let now = Moment::now();
        let turns: Vec<_> = std::iter::from_fn(|| next(&queue, now)).collect();
        let numbers: Vec<_> = turns.iter().map(|turn| turn.number).collect();
        assert_eq!(numbers, [0, 10, 1, 2, 3]);
        assert_eq!(numbers.len(), RUNNING_PER_ORIGIN_MAX + 1);
        drop(turns);
        assert_eq!(
            queue.usage(),
            Usage {
                pending: 11,
                bytes: 11
            }
        );
        let mut sent = 0;
        while let Some(turn) = next(&queue, now) {
            turn.finish();
            sent += 1;
        }
        assert_eq!(sent, 11);
        assert_eq!(queue.usage(), Usage::default());
    }

    #[test]
    fn a_failure_waits_while_others_to_its_origin_are_sent() {
        let queue = Arc::new(RequestQueue::default());
        queue.push(1, "a", 5);
        queue.push(2, "a", 5);
        let now = Moment::now();
        next(&queue, now).expect("the first").pause(BACK_OFF_FIRST);
        next(&queue, now).expect("the second").finish();
        assert!(next(&queue, now).is_none());
        let planned = queue.next_moment().expect("a pause");
        let Next::At(moment) = queue.next(now, Waker::noop()) else {
            panic!("the pause has an end");
        };
        assert_eq!(moment, planned);
        let again = next(&queue, moment.after(Duration::from_secs(1))).expect("it is over");
        assert_eq!(again.number, 1);
        again.finish();
        assert_eq!(queue.usage(), Usage::default());
    }

    #[test]
    fn what_was_forgotten_is_not_sent_again_and_can_come_back() {
        let queue = Arc::new(RequestQueue::default());
        for number in 0..3 {
            queue.push(number, "a", 5);
        }
        let now = Moment::now();
        let first = next(&queue, now).expect("the first");
        let second = next(&queue, now).expect("the second");
        next(&queue, now).expect("the third").pause(BACK_OFF_FIRST);
        queue.clear();
        assert_eq!(queue.usage(), Usage::default());
        assert!(next(&queue, now).is_none() && queue.next_moment().is_none());
        first.pause(BACK_OFF_FIRST);
        assert!(queue.next_moment().is_none());
        assert!(queue.push(7, "a", 5), "it is new");
        drop(second);
        assert_eq!(next(&queue, now).map(|turn| turn.number), Some(7));
    }

    #[test]
    fn requests_that_vanished_are_forgotten_wherever_they_are_and_others_stay() {
        let queue = Arc::new(RequestQueue::default());
        for number in 0..6 {
            let origin = if number < 4 { "a" } else { "b" };
            queue.push(number, origin, 5);
        }
        let now = Moment::now();
        let first = next(&queue, now).expect("of a");
        let other = next(&queue, now).expect("of b");
        assert_eq!((first.number, other.number), (0, 4));
        next(&queue, now).expect("of a").pause(BACK_OFF_FIRST);
        // One is being sent, one has a pause, one waits; the last one is alone with its origin.
        queue.forget(&HashSet::from([0, 1, 2, 5, 99]));
        let usage = Usage {
            pending: 2,
            bytes: 10,
        };
        assert_eq!(queue.usage(), usage);
        assert!(queue.next_moment().is_none());
        first.pause(BACK_OFF_FIRST);
        assert!(queue.next_moment().is_none());
        other.finish();
        let last = next(&queue, now).expect("it was not forgotten");
        assert_eq!(last.number, 3);
        assert!(next(&queue, now).is_none());
        last.finish();
        assert_eq!(queue.usage(), Usage::default());
        assert!(queue.push(5, "b", 5), "it came back");
        assert_eq!(next(&queue, now).map(|turn| turn.number), Some(5));
    }

    #[test]
    fn requests_at_the_same_time_are_bounded() {
        let queue = Arc::new(RequestQueue::default());
        for number in 0..100 {
            queue.push(number, &format!("origin {number}"), 1);
        }
        let now = Moment::now();
        let turns: Vec<_> = std::iter::from_fn(|| next(&queue, now)).collect();
        assert_eq!(turns.len(), RUNNING_MAX);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        assert_eq!(pause_after(1), BACK_OFF_FIRST);
        assert_eq!(pause_after(3), BACK_OFF_FIRST * 4);
        assert_eq!(pause_after(u32::MAX), BACK_OFF_MAX);
    }
}
