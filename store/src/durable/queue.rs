//! Commits on their way to the disk, and the threads that wait for them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use event_listener::{Event, Listener as _};
use parking_lot::{Condvar, Mutex};

use super::backup::{BackupError, DiskSnapshot};
use super::commits::Commits;
use super::{CloseError, DiskOptions, DiskStatus, Durability};
use crate::error::StoreError;
use crate::keyspace::effect::{Effect, Effects};

/// Time that the writer gets to end by itself once its time for trying again is over.
const CLOSE_SLACK: Duration = Duration::from_millis(200);

/// Time for which the writer gathers commits that nobody waits for, from the first one on.
const GATHER_TIME: Duration = Duration::from_millis(5);

/// Bytes of gathered commits that are written without waiting for more.
const GATHER_BYTES: usize = 256 << 10;

/// Longest wait for the writer to write what was committed before a backup.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);

/// The queue between the commits and the thread that writes them.
pub(crate) struct Queue {
    durability: AtomicU8,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    /// Notified when there is something to write, or the queue is closed.
    filled: Condvar,
    bytes: AtomicUsize,
    /// The last commit that is written, though maybe not synced.
    written: AtomicU64,
    synced: AtomicU64,
    /// Notified when more is synced, when the disk fails, and when the queue has shrunk.
    progress: Event,
    /// True once no more writes are accepted; earlier ones are still written.
    closed: AtomicBool,
    failing: AtomicBool,
    failure: Mutex<Failure>,
    /// Notified when the disk begins or ceases to fail, and when the cause changes.
    health: Event,
}

#[derive(Default)]
struct Waiting {
    commits: Commits,
    /// The number of the last commit in the queue.
    last: u64,
    /// Set once the queue is closed: the time until which the writer tries a failing disk again.
    closed: Option<Instant>,
    /// True once the writer has ended.
    ended: bool,
    /// Those who wait for the state of the disk after the commits that are waiting now.
    snapshots: Vec<SnapshotSender>,
}

/// The state of the disk, as the writer last told it.
#[derive(Default)]
struct Failure {
    /// The reason that it takes nothing at present.
    cause: Option<Box<str>>,
    since: Option<Instant>,
    /// Writes and syncs that failed since the start.
    count: u64,
}

/// The way to one who waits for the state of the disk.
pub(super) type SnapshotSender = SyncSender<Result<DiskSnapshot, Box<str>>>;

/// Commits that the writer takes at once.
pub(super) struct Taken {
    pub(super) commits: Commits,
    /// The number of the last of them.
    pub(super) last: u64,
    pub(super) closed: bool,
    /// Those who wait for the state of the disk after these commits.
    pub(super) snapshots: Vec<SnapshotSender>,
}

impl Queue {
    pub(super) fn new(options: &DiskOptions, last: u64) -> Self {
        Self {
            durability: AtomicU8::new(options.durability as u8),
            bytes_max: options.queue_bytes_max,
            waiting: Mutex::new(Waiting {
                last,
                ..Waiting::default()
            }),
            filled: Condvar::new(),
            bytes: AtomicUsize::new(0),
            written: AtomicU64::new(last),
            synced: AtomicU64::new(last),
            progress: Event::new(),
            closed: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            failure: Mutex::default(),
            health: Event::new(),
        }
    }

    /// Adds a commit; its effects are moved out of `effects`. Returns its number if the committer must wait for the
    /// disk.
    pub(super) fn enqueue(&self, effects: &mut Effects) -> Option<u64> {
        let bytes: usize = effects.iter().map(Effect::weight).sum();
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let (number, is_first) = {
            let mut waiting = self.waiting.lock();
            let is_first = waiting.commits.is_empty();
            waiting.commits.push(effects);
            waiting.last += 1;
            (waiting.last, is_first)
        };
        let always = self.durability() == Durability::Always;
        let most = self.gathered_bytes_max();
        // The writer sleeps until the first commit, and then gathers more unless they are due.
        if always || is_first || (before < most && before + bytes >= most) {
            self.filled.notify_one();
        }
        always.then_some(number)
    }

    /// Returns the bytes of waiting commits that are written without waiting for more.
    fn gathered_bytes_max(&self) -> usize {
        GATHER_BYTES.min(self.bytes_max)
    }

    /// Returns true if the writer may wait for more commits before it writes these.
    fn may_gather(&self, waiting: &Waiting) -> bool {
        !waiting.commits.is_empty()
            && waiting.closed.is_none()
            && waiting.snapshots.is_empty()
            && self.durability() != Durability::Always
            && self.bytes.load(Ordering::Relaxed) < self.gathered_bytes_max()
    }

    /// Returns when a commit counts as done.
    pub(super) fn durability(&self) -> Durability {
        match self.durability.load(Ordering::Relaxed) {
            always if always == Durability::Always as u8 => Durability::Always,
            no if no == Durability::No as u8 => Durability::No,
            _ => Durability::EverySecond,
        }
    }

    pub(crate) fn set_durability(&self, durability: Durability) {
        self.durability.store(durability as u8, Ordering::Relaxed);
        // The writer may wait for long if nothing had to be synced.
        self.filled.notify_one();
    }

    /// Returns the number of the last commit.
    pub(crate) fn last(&self) -> u64 {
        self.waiting.lock().last
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
        let cause = self.failure.lock().cause.clone().unwrap_or_default();
        Err(StoreError::Unwritable(cause))
    }

    /// Returns how the disk is doing.
    pub(crate) fn status(&self) -> DiskStatus {
        let (failure, failing_for, failures) = {
            let failure = self.failure.lock();
            let since = failure.since.map_or(Duration::ZERO, |at| at.elapsed());
            (failure.cause.clone(), since, failure.count)
        };
        let last = self.waiting.lock().last;
        DiskStatus {
            failure,
            failing_for,
            failures,
            waiting_commits: last.saturating_sub(self.written.load(Ordering::Acquire)),
            waiting_bytes: self.bytes.load(Ordering::Relaxed),
            unsynced_commits: last.saturating_sub(self.synced()),
        }
    }

    /// A listener for the moment when the disk begins or ceases to fail.
    pub(crate) fn listen_to_health(&self) -> event_listener::EventListener {
        self.health.listen()
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

    /// Copies the data into `directory`: the state after all commits so far. Returns the number of the
    /// last of them. Blocks until the copy is made.
    pub(crate) fn back_up(&self, directory: &Path) -> Result<u64, BackupError> {
        self.check_disk()
            .map_err(|error| BackupError::Disk(error.to_string().into()))?;
        let (sender, receiver) = sync_channel(1);
        {
            let mut waiting = self.waiting.lock();
            if waiting.closed.is_some() {
                return Err(BackupError::Disk("the store is closed".into()));
            }
            waiting.snapshots.push(sender);
        }
        self.filled.notify_one();
        let snapshot = match receiver.recv_timeout(SNAPSHOT_TIMEOUT) {
            Ok(snapshot) => snapshot.map_err(BackupError::Disk)?,
            Err(_) => {
                let cause = self.failure.lock().cause.clone();
                let cause = cause.unwrap_or_else(|| "it takes writes too slowly".into());
                return Err(BackupError::Disk(cause));
            }
        };
        snapshot.copy(directory)?;
        Ok(snapshot.commit)
    }

    /// Takes all waiting commits, once there are any or `patience` has passed. Commits that nobody
    /// waits for are gathered for some milliseconds, so that one write takes many. The memory of `spare`, which has
    /// none, is used for the next commits.
    pub(super) fn take(&self, patience: Duration, spare: Commits) -> Taken {
        let mut waiting = self.waiting.lock();
        if waiting.commits.is_empty() && waiting.closed.is_none() && waiting.snapshots.is_empty() {
            self.filled.wait_for(&mut waiting, patience);
        }
        let until = Instant::now() + GATHER_TIME;
        while self.may_gather(&waiting) {
            if self.filled.wait_until(&mut waiting, until).timed_out() {
                break;
            }
        }
        let commits = std::mem::replace(&mut waiting.commits, spare);
        Taken {
            commits,
            last: waiting.last,
            closed: waiting.closed.is_some(),
            snapshots: std::mem::take(&mut waiting.snapshots),
        }
    }

    /// Gives back the memory that is kept for the next commits, if none wait.
    pub(super) fn free(&self) {
        let mut waiting = self.waiting.lock();
        if waiting.commits.is_empty() {
            waiting.commits = Commits::default();
        }
    }

    /// Waits before a failing disk is tried again. Returns false if the queue is closed and its
    /// time is over, so that trying again is of no use.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut waiting = self.waiting.lock();
        loop {
            let until = match waiting.closed {
                Some(end) if end <= Instant::now() => return false,
                Some(end) => end.min(until),
                None => until,
            };
            if Instant::now() >= until {
                return true;
            }
            // Commits that arrive meanwhile end the wait early, so it is begun again.
            self.filled.wait_until(&mut waiting, until);
        }
    }

    /// Records that commits with effects of this many bytes are written, though maybe not synced; `number` is the
    /// last one's.
    pub(super) fn written(&self, bytes: usize, number: u64) {
        self.written.store(number, Ordering::Release);
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
        let news = {
            let mut failure = self.failure.lock();
            failure.count += 1;
            failure.since.get_or_insert_with(Instant::now);
            let before = failure.cause.replace(cause);
            before != failure.cause
        };
        self.failing.store(true, Ordering::Release);
        self.progress.notify(usize::MAX);
        if news {
            self.health.notify(usize::MAX);
        }
    }

    pub(super) fn recover(&self) {
        if !self.failing.load(Ordering::Acquire) {
            return;
        }
        {
            let mut failure = self.failure.lock();
            failure.cause = None;
            failure.since = None;
        }
        self.failing.store(false, Ordering::Release);
        self.progress.notify(usize::MAX);
        self.health.notify(usize::MAX);
    }

    /// Refuses writes from now on; the writer writes the rest and ends. Until `retry_until` it tries
    /// a failing disk again.
    pub(super) fn close(&self, retry_until: Instant) {
        self.closed.store(true, Ordering::Release);
        self.waiting.lock().closed = Some(retry_until);
        self.filled.notify_all();
    }

    /// Waits until the writer has ended. Gives up once it has written nothing for `patience`.
    pub(super) fn wait_for_end(&self, patience: Duration) -> Result<(), CloseError> {
        let mut waiting = self.waiting.lock();
        let mut seen = self.written.load(Ordering::Acquire);
        while !waiting.ended {
            let waited = self.filled.wait_for(&mut waiting, patience + CLOSE_SLACK);
            let written = self.written.load(Ordering::Acquire);
            if waited.timed_out() && !waiting.ended && written == seen {
                break;
            }
            seen = written;
        }
        let (ended, last) = (waiting.ended, waiting.last);
        drop(waiting);
        let cause = self.failure.lock().cause.clone();
        let cause = match cause {
            Some(cause) => cause,
            None if ended => return Ok(()),
            None => format!("the disk did nothing for {patience:?}").into(),
        };
        let (written, synced) = (self.written.load(Ordering::Acquire), self.synced());
        Err(CloseError {
            lost: last.saturating_sub(written),
            unsynced: written.saturating_sub(synced),
            cause,
        })
    }

    /// Returns true if the writer has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.waiting.lock().ended
    }

    /// Records that the writer has ended.
    pub(super) fn end(&self) {
        self.waiting.lock().ended = true;
        self.filled.notify_all();
    }

    /// Lets nothing wait for the disk any longer.
    pub(super) fn shut(&self) {
        self.failure.lock().cause = Some("the store is closed".into());
        self.failing.store(true, Ordering::Release);
        self.progress.notify(usize::MAX);
    }
}
