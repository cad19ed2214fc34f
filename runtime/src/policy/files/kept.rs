//! Scratch directories of a function that stay from call to call.
//!
//! They are in memory, and end with the function or the process. A call works on a copy, which shares the
//! contents of files until they are written. What it changes takes effect with its commit, or not at all:
//! if another call has changed the directory since, the call begins again, as after any conflict.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ferrite_protocol::keyspace::CommitError;
use parking_lot::Mutex;

use super::scratch::Scratch;

/// The scratch directories of one function that stay.
#[derive(Debug, Default)]
pub struct KeptFiles {
    directories: Mutex<BTreeMap<Box<str>, Kept>>,
    /// Held by a call that has met too many conflicts; nobody else changes anything meanwhile.
    turn: Arc<async_lock::Mutex<()>>,
}

#[derive(Debug)]
struct Kept {
    files: Scratch,
    /// Number of commits that have changed it.
    version: u64,
}

/// The turn of a call, while which no other call changes the directories.
pub(crate) type KeptTurn = async_lock::MutexGuardArc<()>;

/// A call's copy of a directory.
#[derive(Debug)]
pub(super) struct WorkingCopy {
    /// The copy.
    pub(super) files: Scratch,
    /// Version of the directory that it is of.
    pub(super) version: u64,
}

/// Changes of a call in directories that stay, until it is committed.
#[derive(Debug)]
pub(crate) struct ChangedFiles {
    pub(super) kept: Arc<KeptFiles>,
    /// The directories by name.
    pub(super) copies: Vec<(Box<str>, WorkingCopy)>,
}

impl KeptFiles {
    /// Returns a copy of a directory of at most `bytes_max` bytes.
    pub(super) fn copy(&self, name: &str, bytes_max: u64, read_only: bool) -> WorkingCopy {
        let mut directories = self.directories.lock();
        let kept = directories.entry(name.into()).or_insert_with(|| Kept {
            files: Scratch::new(bytes_max),
            version: 0,
        });
        WorkingCopy {
            files: kept.files.copy(read_only),
            version: kept.version,
        }
    }

    /// Returns a future that gives the caller its turn.
    pub(crate) fn turn(&self) -> impl Future<Output = KeptTurn> + Send + use<> {
        self.turn.lock_arc()
    }
}

impl ChangedFiles {
    /// Runs `commit`, and if it succeeds, lets the copies take the place of what they are copies of.
    /// `has_turn` says that the caller has its turn.
    ///
    /// # Errors
    ///
    /// The error of `commit`; or a conflict without running it, because a directory has changed since it was
    /// copied, or another call changes one now.
    pub(crate) fn commit<R>(
        self,
        has_turn: bool,
        commit: impl FnOnce() -> Result<R, CommitError>,
    ) -> Result<R, CommitError> {
        let reserved = self.reserve(has_turn).ok_or(CommitError::Conflict)?;
        let committed = commit()?;
        reserved.publish();
        Ok(committed)
    }

    fn reserve(self, has_turn: bool) -> Option<ReservedFiles> {
        let turn = if has_turn {
            None
        } else {
            Some(self.kept.turn.try_lock_arc()?)
        };
        let directories = self.kept.directories.lock();
        let is_current = |(name, copy): &(Box<str>, WorkingCopy)| {
            let kept = directories.get(name);
            kept.is_some_and(|kept| kept.version == copy.version)
        };
        let all = self.copies.iter().all(is_current);
        drop(directories);
        all.then_some(ReservedFiles {
            changed: Some(self),
            _turn: turn,
        })
    }
}

/// Changes that can be published: nobody else changes the same directories meanwhile.
#[derive(Debug)]
#[must_use = "what is not published is discarded"]
pub struct ReservedFiles {
    changed: Option<ChangedFiles>,
    _turn: Option<KeptTurn>,
}

impl ReservedFiles {
    /// Lets the copies take the place of what they are copies of.
    pub fn publish(self) {
        let Some(ChangedFiles { kept, copies }) = self.changed else {
            return;
        };
        // Large trees take long to free, which happens without the lock.
        let mut replaced = Vec::with_capacity(copies.len());
        let mut directories = kept.directories.lock();
        for (name, copy) in copies {
            let version = copy.version + 1;
            let files = copy.files;
            replaced.push(directories.insert(name, Kept { files, version }));
        }
        drop(directories);
    }
}

/// Takes what a call changes that joins a transaction, for whoever commits that.
#[derive(Debug, Default)]
pub struct PendingFiles(Mutex<Option<ChangedFiles>>);

impl PendingFiles {
    /// Takes the changes of a call.
    pub(crate) fn put(&self, changed: Option<ChangedFiles>) {
        *self.0.lock() = changed;
    }

    /// Runs `commit` together with the changes; see [`ChangedFiles::commit`].
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn commit<R>(
        &self,
        has_turn: bool,
        commit: impl FnOnce() -> Result<R, CommitError>,
    ) -> Result<R, CommitError> {
        match self.0.lock().take() {
            Some(changed) => changed.commit(has_turn, commit),
            None => commit(),
        }
    }

    /// Reserves the changes, to publish them once the transaction is committed. Returns `None` if another
    /// call has changed the same directories, so that the call has to begin again.
    #[must_use]
    pub fn reserve(&self) -> Option<ReservedFiles> {
        match self.0.lock().take() {
            Some(changed) => changed.reserve(false),
            None => Some(ReservedFiles {
                changed: None,
                _turn: None,
            }),
        }
    }
}

/// The files that functions keep, by the functions' names.
#[derive(Debug, Default)]
pub(crate) struct KeptByFunction(Mutex<HashMap<Box<[u8]>, Arc<KeptFiles>>>);

impl KeptByFunction {
    /// Returns those of a function. Those of functions that are gone are forgotten.
    pub(crate) fn of(&self, name: &[u8], is_registered: impl Fn(&[u8]) -> bool) -> Arc<KeptFiles> {
        let mut all = self.0.lock();
        all.retain(|name, kept| Arc::strong_count(kept) > 1 || is_registered(name));
        Arc::clone(all.entry(name.into()).or_default())
    }

    /// Forgets those of a function, whose running calls finish on them.
    pub(crate) fn forget(&self, name: &[u8]) {
        self.0.lock().remove(name);
    }
}
