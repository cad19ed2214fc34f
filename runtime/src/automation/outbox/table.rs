//! The outbox of a runtime: its requests, those that were given up, and its figures.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::message::{DEAD_PREFIX, OutboxMessage, PREFIX, number_of, origin_of, record_name};
use super::queue::{PENDING_BYTES_MAX, RequestQueue, Usage};
use crate::automation::figures::{OutboxFigures, OutboxUsage};
use crate::automation::number::Numbers;

/// Most requests that were given up and are kept; a later one makes the oldest go.
pub(crate) const DEAD_MAX: usize = 1000;

/// Requests that calls have committed.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) queue: Arc<RequestQueue>,
    /// Most requests that wait.
    pending_max: usize,
    numbers: Numbers,
    /// Numbers of the requests that were given up.
    dead: Mutex<BTreeSet<u64>>,
    /// Numbers of the requests that a server has accepted and whose records could not be removed yet.
    accepted: Mutex<HashSet<u64>>,
    /// The requests of all, while another server sends them.
    elsewhere: Mutex<Option<OutboxUsage>>,
    pub(crate) counters: Counters,
}

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests that were committed.
    queued: AtomicU64,
    /// Requests that a server has accepted.
    pub(crate) sent: AtomicU64,
    /// Tries that failed.
    failures: AtomicU64,
    /// Requests that were given up.
    pub(crate) given_up: AtomicU64,
    /// The error of the last try that failed.
    last_error: Mutex<Option<Box<str>>>,
}

impl Counters {
    pub(crate) fn note_failure(&self, error: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.note_error(error);
    }

    /// Notes an error that kept a request from being tried.
    pub(crate) fn note_error(&self, error: &str) {
        *self.last_error.lock() = Some(error.into());
    }
}

impl Outbox {
    /// Makes an empty outbox for at most `pending_max` requests.
    pub(crate) fn new(pending_max: usize) -> Self {
        Self {
            queue: Arc::default(),
            pending_max,
            numbers: Numbers::new(),
            dead: Mutex::default(),
            accepted: Mutex::default(),
            elsewhere: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// Returns the reason why no request can be added, if there is one.
    pub(crate) fn full(&self) -> Option<String> {
        let OutboxUsage {
            pending,
            pending_bytes: bytes,
            ..
        } = self.usage();
        if pending >= self.pending_max {
            return Some(format!(
                "{pending} requests wait in the outbox, the limit is {}; try again later, or raise max_outbox",
                self.pending_max
            ));
        }
        (bytes >= PENDING_BYTES_MAX).then(|| {
            format!(
                "the requests in the outbox have {bytes} bytes, the limit is {PENDING_BYTES_MAX}; try again later"
            )
        })
    }

    /// Returns the name of the record of a new request in a part of the data.
    pub(crate) fn new_record_name(&self, partition: u16) -> Vec<u8> {
        record_name(PREFIX, self.numbers.next(partition))
    }

    /// Takes in a record that was kept by an earlier process, or by another server.
    pub(crate) fn load(&self, name: &[u8], value: &[u8]) -> bool {
        if let Some(number) = number_of(DEAD_PREFIX, name) {
            self.numbers.note(number);
            self.dead.lock().insert(number);
            return OutboxMessage::parse(value).is_some();
        }
        let (Some(number), Some(origin)) = (number_of(PREFIX, name), origin_of(value)) else {
            return false;
        };
        self.numbers.note(number);
        self.queue.push(number, origin, value.len());
        true
    }

    /// Takes in a record that was committed.
    pub(crate) fn record_set(&self, name: &[u8], value: &[u8]) {
        if let (Some(number), Some(origin)) = (number_of(PREFIX, name), origin_of(value))
            && self.queue.push(number, origin, value.len())
        {
            self.counters.queued.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request that was committed to data that is kept elsewhere.
    pub(crate) fn committed(&self, name: &[u8], value: &[u8]) {
        self.counters.queued.fetch_add(1, Ordering::Relaxed);
        match &mut *self.elsewhere.lock() {
            Some(usage) => {
                usage.pending += 1;
                usage.pending_bytes += value.len();
            }
            None => {
                self.load(name, value);
            }
        }
    }

    /// Notes that another server sends, which has these requests; `None` if this one does.
    pub(crate) fn set_elsewhere(&self, usage: Option<OutboxUsage>) {
        *self.elsewhere.lock() = usage;
    }

    /// Returns the names of the records of all requests that are known here.
    pub(crate) fn known(&self) -> Vec<Vec<u8>> {
        let waiting = self.queue.numbers().into_iter();
        let waiting = waiting.map(|number| record_name(PREFIX, number));
        let dead = self.dead.lock();
        let dead = dead.iter().map(|&number| record_name(DEAD_PREFIX, number));
        waiting.chain(dead).collect()
    }

    /// Returns the requests of this moment.
    fn usage(&self) -> OutboxUsage {
        if let Some(usage) = *self.elsewhere.lock() {
            return usage;
        }
        let Usage { pending, bytes } = self.queue.usage();
        OutboxUsage {
            pending,
            pending_bytes: bytes,
            dead: self.dead.lock().len(),
        }
    }

    /// Forgets all requests, because this server does not send them any more.
    pub(crate) fn forget(&self) {
        self.queue.clear();
        self.dead.lock().clear();
        self.accepted.lock().clear();
    }

    /// Forgets requests whose records vanished.
    pub(crate) fn forget_records<'n>(&self, names: impl Iterator<Item = &'n [u8]>) {
        let (mut waiting, mut dead) = (HashSet::new(), HashSet::new());
        for name in names {
            waiting.extend(number_of(PREFIX, name));
            dead.extend(number_of(DEAD_PREFIX, name));
        }
        if !waiting.is_empty() {
            self.queue.forget(&waiting);
            self.accepted
                .lock()
                .retain(|number| !waiting.contains(number));
        }
        if !dead.is_empty() {
            self.dead.lock().retain(|number| !dead.contains(number));
        }
    }

    /// Notes a request that a server has accepted and that is still to be removed.
    pub(crate) fn note_accepted(&self, number: u64) {
        self.accepted.lock().insert(number);
    }

    /// Returns true if a server has accepted the request, so that it is not sent again.
    pub(crate) fn is_accepted(&self, number: u64) -> bool {
        self.accepted.lock().contains(&number)
    }

    /// Forgets that a server has accepted the request, which is gone.
    pub(crate) fn forget_accepted(&self, number: u64) {
        self.accepted.lock().remove(&number);
    }

    /// Notes a request that was given up.
    pub(crate) fn note_dead(&self, number: u64) {
        self.dead.lock().insert(number);
    }

    /// Returns the numbers of the requests that make room for one more that is given up.
    pub(crate) fn oldest_dead(&self) -> Vec<u64> {
        let dead = self.dead.lock();
        let over = (dead.len() + 1).saturating_sub(DEAD_MAX);
        dead.iter().take(over).copied().collect()
    }

    /// Forgets requests that were given up.
    pub(crate) fn forget_dead(&self, numbers: &[u64]) {
        let mut dead = self.dead.lock();
        for number in numbers {
            dead.remove(number);
        }
    }

    /// Returns the figures of this moment.
    pub(crate) fn figures(&self) -> OutboxFigures {
        let OutboxUsage {
            pending,
            pending_bytes,
            dead,
        } = self.usage();
        let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let Counters {
            queued,
            sent,
            failures,
            given_up,
            last_error,
        } = &self.counters;
        OutboxFigures {
            pending,
            pending_bytes,
            dead,
            is_elsewhere: self.elsewhere.lock().is_some(),
            queued: count(queued),
            sent: count(sent),
            failures: count(failures),
            given_up: count(given_up),
            last_error: last_error.lock().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DEAD_MAX, Outbox, PENDING_BYTES_MAX};
    use crate::automation::outbox::message::{
        DEAD_PREFIX, OutboxMessage, PREFIX, number_of, record_name,
    };

    fn message(body_bytes: usize) -> Vec<u8> {
        let words = [
            &b"POST"[..],
            b"https://example.com/",
            &vec![b'x'; body_bytes],
        ];
        OutboxMessage {
            origin: "https://example.com".into(),
            function: "f".into(),
            at: 0,
            tries: 0,
            error: Box::default(),
            words: words.into_iter().map(Box::from).collect(),
        }
        .to_bytes()
    }

    #[test]
    fn requests_that_wait_are_bounded_by_number_and_bytes() {
        let outbox = Outbox::new(2);
        for _ in 0..2 {
            assert_eq!(outbox.full(), None);
            outbox.record_set(&outbox.new_record_name(0), &message(1));
        }
        let full = outbox.full().expect("two are all");
        assert!(full.starts_with("2 requests wait in the outbox"), "{full}");
        assert_eq!(outbox.figures().queued, 2);

        let outbox = Outbox::new(100);
        outbox.record_set(&outbox.new_record_name(0), &message(PENDING_BYTES_MAX));
        let full = outbox.full().expect("its bytes are all");
        assert!(full.contains("the limit is 67108864"), "{full}");
        // One that is replaced by itself counts once.
        let outbox = Outbox::new(2);
        let name = outbox.new_record_name(7);
        for _ in 0..5 {
            outbox.record_set(&name, &message(1));
        }
        assert_eq!(outbox.full(), None);
    }

    #[test]
    fn the_oldest_that_were_given_up_make_room() {
        let outbox = Outbox::new(1);
        let dead_max = DEAD_MAX as u64;
        for number in 1..dead_max {
            assert!(outbox.load(&record_name(DEAD_PREFIX, number), &message(1)));
        }
        assert_eq!(outbox.oldest_dead(), [0_u64; 0]);
        outbox.note_dead(dead_max);
        outbox.note_dead(dead_max + 1);
        assert_eq!(outbox.oldest_dead(), [1, 2]);
        outbox.forget_dead(&[1, 2]);
        assert_eq!(outbox.oldest_dead(), [0_u64; 0]);
        assert!(
            !outbox.load(b"outbox/zz", &message(1)),
            "its number is none"
        );
        assert!(!outbox.load(&record_name(DEAD_PREFIX, 3), b"damaged"));
        outbox.forget();
        assert_eq!(outbox.figures().dead, 0);
    }

    #[test]
    fn what_vanished_is_forgotten_and_the_rest_stays() {
        let outbox = Outbox::new(10);
        let waiting = [outbox.new_record_name(0), outbox.new_record_name(0)];
        for name in &waiting {
            outbox.record_set(name, &message(1));
        }
        for number in [7, 8] {
            outbox.load(&record_name(DEAD_PREFIX, number), &message(1));
        }
        let number = number_of(PREFIX, &waiting[0]).expect("its number");
        outbox.note_accepted(number);
        let gone = [
            waiting[0].clone(),
            record_name(DEAD_PREFIX, 7),
            b"x".to_vec(),
        ];
        outbox.forget_records(gone.iter().map(|name| &**name));
        let figures = outbox.figures();
        assert_eq!((figures.pending, figures.dead), (1, 1));
        assert!(
            !outbox.is_accepted(number),
            "a later one may have its number"
        );
    }
}
