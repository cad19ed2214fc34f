//! The thread that writes commits to the disk.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fjall::PersistMode;

use super::backup::DiskSnapshot;
use super::commits::Commits;
use super::damage::mark::Mark;
use super::damage::seal;
use super::disk::{Disk, free_bytes};
use super::encode::{Encoder, Spaces};
use super::garbage::Garbage;
use super::pending::{Encoded, Pending};
use super::queue::Queue;
use super::{CloseError, DiskOptions, Durability};
use crate::keyspace::effect::Effect;

/// Longest time between syncs, unless every commit waits for one.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Wait before a failing disk is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Time after which a disk that does nothing is given up when the store is dropped.
const DROP_PATIENCE: Duration = Duration::from_secs(30);
/// Time between two checks of the free space.
const SPACE_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two looks if the engine has written its maps.
const REST_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes of the engine's maps in memory for which a table is worth its file.
const REST_BYTES_MIN: u64 = 1 << 20;
/// Most effects in one batch: more than this takes the engine noticeably long.
const BATCH_LEN_MAX: usize = 20_000;
/// Most bytes in one batch of more than one commit: it holds all changes of a record until only the last is written.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Progress of freeing what the engine keeps in memory.
#[derive(Clone, Copy, Debug)]
enum Rest {
    /// The last batch was written then.
    BusySince(Instant),
    /// The engine writes its maps into tables; it was looked at then.
    Begun(Instant),
    Ended,
}

pub(super) struct Writer {
    queue: Arc<Queue>,
    options: DiskOptions,
    /// `None` while the disk has failed and could not be opened again.
    disk: Option<Disk>,
    mark: Mark,
    spaces: Spaces,
    garbage: Garbage,
    pending: Pending,
    /// The last commit that is written, though maybe not synced.
    written: u64,
    synced: u64,
    synced_at: Instant,
    rest: Rest,
    space_seen_at: Option<Instant>,
    /// The durability of the last round.
    durability: Durability,
}

/// Ends the writer, once everything is written and synced.
pub(crate) struct Handle {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Ends the writer. A disk that fails is tried again until `time` has passed, and a disk that
    /// does nothing for so long is given up; its thread is then left behind.
    pub(crate) fn close(mut self, time: Duration) -> Result<(), CloseError> {
        self.end(Instant::now() + time, time)
    }

    fn end(&mut self, retry_until: Instant, patience: Duration) -> Result<(), CloseError> {
        self.queue.close(retry_until);
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let closed = self.queue.wait_for_end(patience);
        if self.queue.has_ended() {
            // The thread has printed its panic; the data is as after a crash.
            let _ = thread.join();
        }
        self.queue.shut();
        closed
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Who wants to know what was lost closes the store.
        let _ = self.end(Instant::now(), DROP_PATIENCE);
    }
}

/// Tells the queue that the writer has ended, even by a panic.
struct Ended(Arc<Queue>);

impl Drop for Ended {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let cause = "the thread that writes has ended by a fault; restart the server";
            self.0.fail(cause.into());
        }
        self.0.end();
    }
}

/// Text of an error; the system's own text if a system call failed.
fn describe(error: &(dyn std::error::Error + 'static)) -> Box<str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            let text = error.to_string();
            return text.split(" (os error").next().unwrap_or(&text).into();
        }
        cause = error.source();
    }
    error.to_string().into()
}

impl Writer {
    pub(super) fn new(
        queue: Arc<Queue>,
        options: DiskOptions,
        disk: Disk,
        mark: Mark,
        spaces: Spaces,
        garbage: Garbage,
        commit: u64,
    ) -> Self {
        Self {
            queue,
            options,
            disk: Some(disk),
            mark,
            spaces,
            garbage,
            pending: Pending::new(commit),
            written: commit,
            synced: commit,
            synced_at: Instant::now(),
            rest: Rest::BusySince(Instant::now()),
            space_seen_at: None,
            durability: Durability::EverySecond,
        }
    }

    pub(super) fn start(self) -> Handle {
        let queue = Arc::clone(&self.queue);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                let _ended = Ended(Arc::clone(&self.queue));
                self.run();
            })
            .ok();
        if thread.is_none() {
            queue.fail("the thread that writes cannot be started".into());
        }
        Handle { queue, thread }
    }

    fn run(mut self) {
        let mut spare = Commits::default();
        loop {
            let idle = self.garbage.is_empty() && self.written == self.synced;
            let patience = if idle {
                self.until_rest().unwrap_or(Duration::from_secs(60))
            } else {
                self.until_sync()
            };
            let patience = if self.garbage.is_empty() {
                patience
            } else {
                Duration::ZERO
            };
            let mut taken = self.queue.take(patience, spare);
            let is_empty = taken.commits.is_empty();
            let mut number = taken.last - taken.commits.len() as u64;
            for batch in taken.commits.batches(BATCH_LEN_MAX, BATCH_BYTES_MAX) {
                number += batch.len as u64;
                if !self.write_until_done(batch.effects, number) {
                    return;
                }
                self.queue.written(batch.bytes, number);
            }
            taken.commits.clear();
            spare = taken.commits;
            // Some of these commits may wait for a sync that is no longer made for each commit.
            let durability = self.queue.durability();
            let relaxed = self.durability == Durability::Always && durability != Durability::Always;
            self.durability = durability;
            self.sync_if_due(taken.closed || relaxed);
            if taken.closed || !taken.snapshots.is_empty() {
                self.settle();
            }
            if self.disk.is_none() && !self.repair_until_done() {
                return;
            }
            for waiting in taken.snapshots {
                let snapshot = match &self.disk {
                    Some(disk) => Ok(DiskSnapshot::new(disk, self.written)),
                    None => Err("the disk has failed".into()),
                };
                // It may have given up.
                let _ = waiting.send(snapshot);
            }
            if taken.closed {
                self.close_disk();
                return;
            }
            if is_empty {
                self.clear_garbage();
                if self.rest_if_due() {
                    spare = Commits::default();
                    self.queue.free();
                    self.pending.free();
                }
            }
        }
    }

    /// Closes the files, and leaves their digests for the next start.
    fn close_disk(&mut self) {
        if let Some(disk) = self.disk.take() {
            // While it is open nobody else writes there. A journal that stays makes the next start slower, and is no
            // reason to fail.
            let _ = disk.empty_journal(&self.options.directory);
            // Closes the files.
            drop(disk);
            // Without the digests some damage is noticed less well; that is no reason to fail.
            let _ = seal::write(&self.options.directory);
        }
    }

    fn until_sync(&self) -> Duration {
        SYNC_INTERVAL.saturating_sub(self.synced_at.elapsed())
    }

    /// Time until there is something to do for the engine's rest; `None` if it rests already.
    fn until_rest(&self) -> Option<Duration> {
        match self.rest {
            Rest::BusySince(at) => Some(self.options.rest_after.saturating_sub(at.elapsed())),
            Rest::Begun(at) => Some(REST_INTERVAL.saturating_sub(at.elapsed())),
            Rest::Ended => None,
        }
    }

    /// Has the engine free what its maps hold in memory, once nothing was written for some time. The next
    /// start has less to read from the journals, too. Returns true once that is done.
    fn rest_if_due(&mut self) -> bool {
        let is_due = self.until_rest().is_some_and(|left| left.is_zero());
        if !is_due || !self.garbage.is_empty() || self.written != self.synced {
            return false;
        }
        self.settle();
        let Some(disk) = &self.disk else {
            self.rest = Rest::Ended;
            return false;
        };
        let begun = match self.rest {
            Rest::BusySince(_) if disk.bytes_in_memory() < REST_BYTES_MIN => Ok(false),
            Rest::BusySince(_) => disk.begin_rest().map(|()| true),
            Rest::Begun(_) => disk.end_rest(self.written).map(|ended| !ended),
            Rest::Ended => return false,
        };
        self.rest = match begun {
            Ok(true) => Rest::Begun(Instant::now()),
            Ok(false) => Rest::Ended,
            Err(_) => {
                // The next write opens it again.
                self.disk = None;
                Rest::Ended
            }
        };
        self.disk.is_some() && matches!(self.rest, Rest::Ended)
    }

    /// Writes some commits as one batch, and retries until that succeeds. Returns false if the store
    /// was closed meanwhile and its time is over.
    fn write_until_done(&mut self, effects: &[Effect], number: u64) -> bool {
        loop {
            match self.write(effects, number) {
                Ok(()) => {
                    self.queue.recover();
                    return true;
                }
                Err(cause) => {
                    self.queue.fail(cause);
                    if !self.queue.pause(RETRY_INTERVAL) {
                        return false;
                    }
                }
            }
        }
    }

    /// Opens a disk that failed again, until that succeeds. Returns false if the store was closed
    /// meanwhile and its time is over.
    fn repair_until_done(&mut self) -> bool {
        loop {
            match self.repair() {
                Ok(_) => {
                    self.queue.recover();
                    return true;
                }
                Err(cause) => {
                    self.queue.fail(cause);
                    if !self.queue.pause(RETRY_INTERVAL) {
                        return false;
                    }
                }
            }
        }
    }

    /// Returns the open disk. Opens one that failed again, and makes sure of what is on it.
    ///
    /// A system that could not write its buffers may have dropped them, and reports that once.
    /// So everything that was written and not synced is read back, and stored again in new files.
    fn repair(&mut self) -> Result<&Disk, Box<str>> {
        if self.disk.is_none() {
            let disk = Disk::open(&self.options.directory).map_err(|error| describe(&error))?;
            let found = disk.commit().map_err(|error| describe(&error))?;
            let found = found.ok_or("the number of the last commit cannot be read")?;
            if found < self.written {
                return Err(format!(
                    "the disk lost what it had taken: it ends at commit {found} of {}; restart the server to go on from there",
                    self.written
                )
                .into());
            }
            let mut pending = Pending::read(&disk).map_err(|error| describe(&error))?;
            if !pending.is_empty() {
                let batch = pending.settle(&disk, found);
                batch
                    .durability(Some(PersistMode::Buffer))
                    .commit()
                    .map_err(|error| describe(&error))?;
            }
            self.pending = Pending::new(found);
            if self.written > self.synced {
                disk.store_anew().map_err(|error| describe(&error))?;
                self.note_synced();
            }
            self.disk = Some(disk);
        }
        self.disk
            .as_ref()
            .ok_or_else(|| "the disk is closed".into())
    }

    fn write(&mut self, effects: &[Effect], number: u64) -> Result<(), Box<str>> {
        self.check_space()?;
        self.repair()?;
        let Some(disk) = &self.disk else {
            return Err("the disk is closed".into());
        };
        // A copy, because a failed batch must change nothing; it is kept once the batch is written.
        let mut spaces = self.spaces.clone();
        let mut garbage = Garbage::default();
        let mut encoder = Encoder::new(&mut spaces, &mut garbage, &mut self.pending);
        effects.iter().for_each(|effect| encoder.add(effect));
        let mode = match self.queue.durability() {
            Durability::Always => PersistMode::SyncData,
            Durability::EverySecond | Durability::No => PersistMode::Buffer,
        };
        // A commit that waits for the disk waits longer for that than for the maps.
        let now = mode == PersistMode::SyncData;
        let Encoded {
            batch,
            log_is_empty,
        } = encoder.finish(disk, self.written..number, now);
        if let Err(error) = batch.durability(Some(mode)).commit() {
            // The engine takes no more writes after a failure; it is opened again.
            self.disk = None;
            return Err(describe(&error));
        }
        let bounded = if log_is_empty {
            disk.bound_log()
        } else {
            Ok(())
        };
        if bounded.and_then(|()| disk.bound_meta()).is_err() {
            // The batch is written; the next one opens the engine again, and tells the cause if it still fails.
            self.disk = None;
        }
        self.spaces = spaces;
        self.garbage.append(garbage);
        self.written = number;
        self.rest = Rest::BusySince(Instant::now());
        if self.queue.durability() == Durability::Always {
            self.note_synced();
        }
        Ok(())
    }

    fn check_space(&mut self) -> Result<(), Box<str>> {
        if self
            .space_seen_at
            .is_some_and(|at| at.elapsed() < SPACE_INTERVAL)
        {
            return Ok(());
        }
        let free = free_bytes(&self.options.directory).map_err(|error| describe(&error))?;
        if free < self.options.free_bytes_min {
            return Err("No space left on device".into());
        }
        self.space_seen_at = Some(Instant::now());
        Ok(())
    }

    fn note_synced(&mut self) {
        self.synced = self.written;
        self.synced_at = Instant::now();
        // Without the mark, damage is detected less well; that is no reason to stop.
        let _ = self.mark.set(self.synced);
        self.queue.synced_up_to(self.synced);
    }

    fn sync_if_due(&mut self, closing: bool) {
        let due = match self.queue.durability() {
            // Only what was written before every commit had to be synced.
            Durability::Always => true,
            Durability::EverySecond => self.until_sync().is_zero(),
            Durability::No => false,
        };
        if self.written == self.synced || !(due || closing) {
            return;
        }
        let Some(disk) = &self.disk else { return };
        match disk.database.persist(PersistMode::SyncData) {
            Ok(()) => self.note_synced(),
            Err(error) => {
                // A failed sync may lose writes if the machine crashes, not if the process does.
                self.disk = None;
                self.queue.fail(describe(&error));
            }
        }
    }

    /// Brings the changes of the log into the maps.
    fn settle(&mut self) {
        let Some(disk) = &self.disk else { return };
        if self.pending.is_empty() {
            return;
        }
        let batch = self.pending.settle(disk, self.written);
        let written = batch.durability(Some(PersistMode::Buffer)).commit();
        if written.and_then(|()| disk.bound_log()).is_err() {
            // The log has what the maps lack; it is read when the engine is opened again.
            self.disk = None;
        }
    }

    fn clear_garbage(&mut self) {
        if self.garbage.is_empty() {
            return;
        }
        // Some of it may be in the log alone.
        self.settle();
        let Some(disk) = &self.disk else { return };
        self.rest = Rest::BusySince(Instant::now());
        if self.garbage.clear_some(disk).is_err() {
            // The next start finds the garbage again.
            self.disk = None;
        }
    }
}
