//! Commits on their way to the disk, and the threads that wait for them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use event_listener::{Event, Listener as _};
use parking_lot::{Condvar, Mutex};

use super::{DiskOptions, Durability};
use crate::error::StoreError;
use crate::keyspace::effect::{Effect, Effects};

/// The queue between the commits and the thread that writes them.
pub(crate) struct Queue {
    durability: Durability,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    /// Notified when there is something to write, or the queue is closed.
    filled: Condvar,
    bytes: AtomicUsize,
    synced: AtomicU64,
    /// Notified when more is synced, when the disk fails, and when the queue has shrunk.
    progress: Event,
    /// True once no more writes are accepted; earlier ones are still written.
    closed: AtomicBool,
    failing: AtomicBool,
    failure: Mutex<Option<Box<str>>>,
}

#[derive(Default)]
struct Waiting {
    commits: Vec<Effects>,
    /// The number of the last commit in the queue.
    last: u64,
    closed: bool,
}

/// Commits that the writer takes at once.
pub(super) struct Taken {
    pub(super) commits: Vec<Effects>,
    /// The number of the last of them.
    pub(super) last: u64,
    pub(super) closed: bool,
}

impl Queue {
    pub(super) fn new(options: &DiskOptions, last: u64) -> Self {
        Self {
            durability: options.durability,
            bytes_max: options.queue_bytes_max,
            waiting: Mutex::new(Waiting {
                last,
                ..Waiting::default()
            }),
            filled: Condvar::new(),
            bytes: AtomicUsize::new(0),
            synced: AtomicU64::new(last),
            progress: Event::new(),
            closed: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// Adds a commit; returns its number if the committer must wait for the disk.
    pub(super) fn enqueue(&self, effects: Effects) -> Option<u64> {
        let bytes = effects.iter().map(Effect::weight).sum();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let number = {
            let mut waiting = self.waiting.lock();
            waiting.commits.push(effects);
            waiting.last += 1;
            waiting.last
        };
        self.filled.notify_one();
        match self.durability {
            Durability::Always => Some(number),
            Durability::EverySecond | Durability::No => None,
        }
    }

    /// Returns true if commits arrive faster than the disk takes them.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.bytes_max
    }

    /// Returns the reason why nothing may be written at present, if there is one.
    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Unwritable("the store is closed".into()));
        }
        self.check_disk()
    }

    /// Returns the reason why the disk takes nothing at present, if there is one.
    fn check_disk(&self) -> Result<(), StoreError> {
        if !self.failing.load(Ordering::Acquire) {
            return Ok(());
        }
        let cause = self.failure.lock().clone().unwrap_or_default();
        Err(StoreError::Unwritable(cause))
    }

    /// A listener for the next progress of any kind.
    pub(crate) fn listen(&self) -> event_listener::EventListener {
        self.progress.listen()
    }

    pub(super) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    pub(super) async fn wait_for(&self, number: u64) -> Result<(), StoreError> {
        loop {
            let listener = self.progress.listen();
            if self.synced() >= number {
                return Ok(());
            }
            self.check_disk()?;
            listener.await;
        }
    }

    pub(super) fn block_for(&self, number: u64) -> Result<(), StoreError> {
        loop {
            let listener = self.progress.listen();
            if self.synced() >= number {
                return Ok(());
            }
            self.check_disk()?;
            listener.wait();
        }
    }

    /// Takes all waiting commits, once there are any or `patience` has passed.
    pub(super) fn take(&self, patience: Duration) -> Taken {
        let mut waiting = self.waiting.lock();
        if waiting.commits.is_empty() && !waiting.closed {
            self.filled.wait_for(&mut waiting, patience);
        }
        let commits = std::mem::take(&mut waiting.commits);
        Taken {
            commits,
            last: waiting.last,
            closed: waiting.closed,
        }
    }

    /// Records that these commits are written, though maybe not synced.
    pub(super) fn written(&self, commits: &[Effects]) {
        let bytes: usize = commits.iter().flatten().map(Effect::weight).sum();
        let was_full = self.is_full();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if was_full {
            self.progress.notify(usize::MAX);
        }
    }

    /// Records that all commits up to this one are on disk.
    pub(super) fn synced_up_to(&self, number: u64) {
        self.synced.store(number, Ordering::Release);
        self.progress.notify(usize::MAX);
    }

    pub(super) fn fail(&self, cause: Box<str>) {
        *self.failure.lock() = Some(cause);
        self.failing.store(true, Ordering::Release);
        self.progress.notify(usize::MAX);
    }

    pub(super) fn recover(&self) {
        self.failing.store(false, Ordering::Release);
        *self.failure.lock() = None;
        self.progress.notify(usize::MAX);
    }

    /// Refuses writes from now on; the writer writes the rest and ends.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waiting.lock().closed = true;
        self.filled.notify_all();
    }

    /// Wakes every thread that still waits for the disk: the writer has ended.
    pub(super) fn end(&self) {
        self.fail("the store is closed".into());
    }
}
