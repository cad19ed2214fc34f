//! The thread that writes commits to the disk.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fjall::PersistMode;

use super::disk::{Disk, free_bytes};
use super::encode::{Encoder, Spaces};
use super::garbage::Garbage;
use super::mark::Mark;
use super::queue::Queue;
use super::{DiskOptions, Durability};
use crate::keyspace::effect::Effects;

/// Longest time between syncs, unless every commit waits for one.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Wait before a failing disk is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Time between two checks of the free space.
const SPACE_INTERVAL: Duration = Duration::from_millis(100);
/// Most effects in one batch: more than this takes the engine noticeably long.
const BATCH_LEN_MAX: usize = 20_000;

pub(super) struct Writer {
    queue: Arc<Queue>,
    options: DiskOptions,
    /// `None` while the disk has failed and could not be opened again.
    disk: Option<Disk>,
    mark: Mark,
    spaces: Spaces,
    garbage: Garbage,
    /// The last commit that is written, though maybe not synced.
    written: u64,
    synced: u64,
    synced_at: Instant,
    space_seen_at: Option<Instant>,
}

/// Ends the writer when it is dropped, once everything is written and synced.
pub(crate) struct Handle {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // The thread has printed its panic; the data is as after a crash.
            let _ = thread.join();
        }
        self.queue.end();
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
            written: commit,
            synced: commit,
            synced_at: Instant::now(),
            space_seen_at: None,
        }
    }

    pub(super) fn start(self) -> Handle {
        let queue = Arc::clone(&self.queue);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || self.run())
            .ok();
        if thread.is_none() {
            queue.fail("the thread that writes cannot be started".into());
        }
        Handle { queue, thread }
    }

    fn run(mut self) {
        loop {
            let idle = self.garbage.is_empty() && self.written == self.synced;
            let patience = if idle {
                Duration::from_secs(60)
            } else {
                self.until_sync()
            };
            let patience = if self.garbage.is_empty() {
                patience
            } else {
                Duration::ZERO
            };
            let taken = self.queue.take(patience);
            let mut number = taken.last - taken.commits.len() as u64;
            let mut rest = &taken.commits[..];
            while !rest.is_empty() {
                let (commits, more) = rest.split_at(batch_len(rest));
                number += commits.len() as u64;
                self.write_until_done(commits, number, taken.closed);
                self.queue.written(commits);
                rest = more;
            }
            self.sync_if_due(taken.closed);
            if taken.closed {
                return;
            }
            if taken.commits.is_empty() {
                self.clear_garbage();
            }
        }
    }

    fn until_sync(&self) -> Duration {
        SYNC_INTERVAL.saturating_sub(self.synced_at.elapsed())
    }

    /// Writes some commits as one batch, and retries until that succeeds.
    fn write_until_done(&mut self, commits: &[Effects], number: u64, closing: bool) {
        loop {
            match self.write(commits, number) {
                Ok(()) => {
                    self.queue.recover();
                    return;
                }
                Err(cause) => {
                    self.queue.fail(cause);
                    // No thread waits for the commits any more.
                    if closing {
                        return;
                    }
                    std::thread::sleep(RETRY_INTERVAL);
                }
            }
        }
    }

    fn write(&mut self, commits: &[Effects], number: u64) -> Result<(), Box<str>> {
        self.check_space()?;
        let disk = match &self.disk {
            Some(disk) => disk,
            None => {
                let disk = Disk::open(&self.options.directory).map_err(|error| describe(&error))?;
                self.disk.insert(disk)
            }
        };
        // A copy, because a failed batch must change nothing; it is kept once the batch is written.
        let mut spaces = self.spaces.clone();
        let mut garbage = Garbage::default();
        let mut encoder = Encoder::new(&mut spaces, &mut garbage);
        commits
            .iter()
            .flatten()
            .for_each(|effect| encoder.add(effect));
        let mode = match self.options.durability {
            Durability::Always => PersistMode::SyncData,
            Durability::EverySecond | Durability::No => PersistMode::Buffer,
        };
        if let Err(error) = encoder.finish(disk, number).durability(Some(mode)).commit() {
            // The engine takes no more writes after a failure; it is opened again.
            self.disk = None;
            return Err(describe(&error));
        }
        self.spaces = spaces;
        self.garbage.append(garbage);
        self.written = number;
        if self.options.durability == Durability::Always {
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
        let due = match self.options.durability {
            Durability::Always => false,
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

    fn clear_garbage(&mut self) {
        let Some(disk) = &self.disk else { return };
        if !self.garbage.is_empty() && self.garbage.clear_some(disk).is_err() {
            // The next start finds the garbage again.
            self.disk = None;
        }
    }
}

/// Number of commits for one batch: as many as stay below its bound, and at least one.
fn batch_len(commits: &[Effects]) -> usize {
    let mut effects = 0;
    commits
        .iter()
        .take_while(|commit| {
            effects += commit.len();
            effects <= BATCH_LEN_MAX
        })
        .count()
        .max(1)
}
