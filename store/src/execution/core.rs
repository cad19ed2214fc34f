//! The part of a store that all its clones share.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use event_listener::Event;
use parking_lot::{Mutex, MutexGuard};

use crate::blocking::{Ready, Registry};
use crate::durable::{self, CloseError, DiskOptions, Handle, OpenError, Queue};
use crate::error::StoreError;
use crate::events::{Observer, Recorder};
use crate::keyspace::records::Records;
use crate::keyspace::shard::{SHARDS, Shard};
use crate::options::{Clock, Limits, StoreOptions};
use ferrite_protocol::events::EventSink;

/// Shards, the commit clock and the state of waiting clients.
pub(crate) struct Core {
    shards: Box<[Mutex<Shard>]>,
    /// The records of the host. Locked after shards, never before.
    pub(crate) records: Mutex<Records>,
    /// Version of the latest commit. On its own cache line, because every write changes it.
    commits: CachePadded<AtomicU64>,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    /// Held by the one exclusive transaction that may run.
    pub(crate) exclusive: Arc<async_lock::Mutex<()>>,
    /// Notified when an exclusive transaction releases its reservations.
    pub(crate) released: Event,
    /// Clients that wait for keys.
    pub(crate) blocked: Registry,
    /// Keys to serve blocked clients from, once an exclusive transaction has released them.
    pub(crate) deferred: Mutex<Ready>,
    /// Is told of events, while `observed` is true.
    pub(crate) observer: OnceLock<Arc<dyn Observer>>,
    pub(crate) observed: AtomicBool,
    /// Gets events with values, and keeps records of them, while `captures` is true.
    pub(crate) sink: OnceLock<Arc<dyn EventSink>>,
    pub(crate) captures: AtomicBool,
    /// Commits on their way to the disk; `None` without a disk.
    pub(crate) queue: Option<Arc<Queue>>,
    /// Elements and keys of large values and of flushed databases that were freed.
    pub(crate) freed: AtomicU64,
    /// True while commands that need more memory are refused.
    refuses_growth: AtomicBool,
    /// Ends the writer when the last clone of the store is dropped, or on `close`.
    writer: Mutex<Option<Handle>>,
}

/// The core as one clone of the store holds it, with a count of the transactions that began there.
///
/// The count is here and not in the core: threads with a clone each then write to no shared
/// counter, which would move its cache line between cores.
#[derive(Clone, Debug)]
pub(crate) struct CoreRef(Arc<CachePadded<Arc<Core>>>);

impl CoreRef {
    pub(crate) fn new(core: Core) -> Self {
        Self(Arc::new(CachePadded::new(Arc::new(core))))
    }

    /// Returns the same core with a new count.
    pub(crate) fn apart(&self) -> Self {
        Self(Arc::new(CachePadded::new(Arc::clone(&self.0))))
    }
}

impl Deref for CoreRef {
    type Target = Core;

    #[inline]
    fn deref(&self) -> &Core {
        &self.0
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Core")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn in_memory(options: &StoreOptions) -> Self {
        Self::new(
            options,
            (0..SHARDS).map(|_| Shard::default()).collect(),
            Records::default(),
            None,
        )
    }

    /// Opens a data directory with the state of its last use.
    pub(crate) fn on_disk(options: &StoreOptions, disk: DiskOptions) -> Result<Self, OpenError> {
        let opened = durable::open(disk)?;
        Ok(Self::new(
            options,
            opened.shards,
            opened.records,
            Some((opened.queue, opened.writer)),
        ))
    }

    fn new(
        options: &StoreOptions,
        shards: Vec<Shard>,
        records: Records,
        disk: Option<(Arc<Queue>, Handle)>,
    ) -> Self {
        // The loaded data belongs to the first commit.
        let commits = shards
            .iter()
            .map(|shard| shard.modified_at)
            .max()
            .unwrap_or(0);
        let (queue, writer) = disk.unzip();
        Self {
            shards: shards.into_iter().map(Mutex::new).collect(),
            records: Mutex::new(records),
            commits: CachePadded::new(AtomicU64::new(commits)),
            limits: options.limits.clone(),
            clock: options.clock.clone(),
            exclusive: Arc::new(async_lock::Mutex::new(())),
            released: Event::new(),
            blocked: Registry::default(),
            deferred: Mutex::new(Ready::new()),
            observer: OnceLock::new(),
            observed: AtomicBool::new(false),
            sink: OnceLock::new(),
            captures: AtomicBool::new(false),
            queue,
            freed: AtomicU64::new(0),
            refuses_growth: AtomicBool::new(false),
            writer: Mutex::new(writer),
        }
    }

    /// Returns the reason why nothing may be written at present, if there is one.
    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        self.queue
            .as_ref()
            .map_or(Ok(()), |queue| queue.check_writable())
    }

    pub(crate) fn set_refuses_growth(&self, refuse: bool) {
        self.refuses_growth.store(refuse, Ordering::Relaxed);
    }

    /// Returns an error if no more memory is to be had.
    #[inline]
    pub(crate) fn check_memory(&self) -> Result<(), StoreError> {
        if self.refuses_growth.load(Ordering::Relaxed) {
            return Err(StoreError::OutOfMemory);
        }
        Ok(())
    }

    /// Writes and syncs the waiting commits, and accepts no more.
    pub(crate) fn close(&self, time: Duration) -> Result<(), CloseError> {
        let writer = self.writer.lock().take();
        writer.map_or(Ok(()), |writer| writer.close(time))
    }

    /// A recorder of changes, if anyone wants to know of events.
    pub(crate) fn recorder(&self) -> Option<Box<Recorder>> {
        let captures = self.captures.load(Ordering::Relaxed);
        let records = captures || self.observed.load(Ordering::Relaxed);
        records.then(|| Box::new(Recorder::new(captures)))
    }

    /// Returns true while writes have to wait until the event sink has room.
    pub(crate) fn sink_is_full(&self) -> bool {
        self.captures.load(Ordering::Relaxed) && self.sink.get().is_some_and(|sink| sink.is_full())
    }

    pub(crate) fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].lock()
    }

    /// Returns true if a thread holds the lock of a shard.
    #[cfg(test)]
    pub(crate) fn is_locked(&self, shard: usize) -> bool {
        self.shards[shard].is_locked()
    }

    /// The latest version of any commit. A thread that reads it here and then takes the locks sees
    /// that commit's changes: versions are assigned under the locks.
    pub(crate) fn latest(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Assigns the version of a commit that holds all the locks it needs.
    pub(crate) fn tick(&self) -> u64 {
        self.commits.fetch_add(1, Ordering::SeqCst) + 1
    }
}
