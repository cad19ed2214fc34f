//! A call's arguments, shared by all that belongs to it, and its state: what it has read and
//! written.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ferrite_protocol::budget::{ACCESS, LOOKUP, bytes};
use ferrite_protocol::keyspace::StoreError;
use ferrite_runtime::policy::permissions::Access;
use smallvec::SmallVec;

use crate::api::context::Context;
use crate::api::string::{Args, Named};
use crate::records::RecordChange;
use crate::transaction::journal::Journal;
use crate::transaction::read_set::Read;
use crate::transaction::write_set::{KeyRef, WriteSet};

/// The words of a command after its name.
pub(crate) type CommandWords<'c> = SmallVec<[Named<'c>; 6]>;

/// A short string; `None` if the key does not exist.
pub(crate) type Short = Option<SmallVec<[u8; SHORT_MAX]>>;

/// Strings of up to this many bytes are remembered: counters and the like, which are read and then
/// changed.
pub(crate) const SHORT_MAX: usize = 24;

/// From this number of declared keys on, they are found by a hash table and not by comparing each.
const INDEXED_FROM: usize = 16;

/// Capacity for more reads or changes than this is not kept for the next call.
const ENTRIES_KEEP: usize = 64;

/// One call of a function, as the server sees it.
pub(crate) struct Call {
    pub(crate) args: Args,
    /// Range of the arguments that are keys: the start in the upper 32 bits, the end in the lower
    /// ones.
    keys: AtomicU64,
    /// Place of each key, made when one is looked for among many.
    index: OnceLock<HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>>,
    pub(crate) database: u32,
}

/// Data that a call has read and written so far.
#[derive(Default)]
pub(crate) struct CallState {
    /// The call's time, in milliseconds since 1970.
    pub(crate) now: Option<i64>,
    pub(crate) write_set: WriteSet,
    pub(crate) reads: Vec<Read>,
    /// The last short string that was read, on the main thread, where no other client changes it.
    pub(crate) last: Option<(KeyRef, Short)>,
    pub(crate) journal: Journal,
    /// True if the reads need not agree with each other, so that none is remembered.
    pub(crate) reads_latest: bool,
    /// True if the call is on the main thread to its end, or begins again: nothing can come between what it
    /// does, so that no read and no step is remembered.
    pub(crate) undivided: bool,
    /// Units of work that operations have done beyond what is charged for each.
    pub(crate) extra_work: Cell<u64>,
    /// True if other clients changed what it had read.
    pub(crate) conflict: bool,
    /// True once the server was found to take writes at all.
    pub(crate) may_write: bool,
    /// Rights that the caller was found to have.
    pub(crate) rights: CallerRights,
    /// Records of the module that the call changes.
    pub(crate) records: Vec<RecordChange>,
    /// Records of the module that must be there when the call commits.
    pub(crate) required: Vec<Box<[u8]>>,
    /// Number of events in a row that led to the call.
    pub(crate) event_depth: u32,
    /// Undeclared keys that were found to belong to this node of a cluster.
    pub(crate) own_keys: HashSet<Box<[u8]>, foldhash::fast::RandomState>,
}

/// Rights that the calling user was found to have in this call.
#[derive(Default)]
pub(crate) struct CallerRights {
    /// True if the user may do everything; `None` until it is asked.
    pub(crate) unrestricted: Option<bool>,
    pub(crate) granted: HashSet<(Access, KeyRef), foldhash::fast::RandomState>,
}

impl CallerRights {
    /// Forgets everything, for another call or another try.
    pub(crate) fn clear(&mut self) {
        self.unrestricted = None;
        self.granted.clear();
    }
}

impl CallState {
    /// Prepares the state for another call, and keeps its capacity. Returns false if the last call
    /// left writes that must be rolled back; committing or rolling back clears the state.
    pub(crate) fn reset_for_next(&mut self) -> bool {
        if self.journal.is_active() || !self.write_set.is_empty() || !self.reads.is_empty() {
            return false;
        }
        self.records.clear();
        self.required.clear();
        self.event_depth = 0;
        if self.is_large() {
            *self = Self::default();
        }
        // The next call may be another user's.
        self.rights.clear();
        true
    }

    /// Returns true if nothing was written so far.
    pub(crate) fn is_unwritten(&self) -> bool {
        !self.journal.is_active() && self.write_set.is_empty() && self.records.is_empty()
    }

    /// Returns the units of a commit: each read is done again if the call has left the main thread, and so
    /// are its commands; each change is applied, replicated and told.
    pub(crate) fn work_to_commit(&self) -> u64 {
        let accesses = ACCESS.saturating_mul(self.write_set.len() as u64);
        // On the main thread nothing is read again, and the commands have been run.
        let off_main_thread = self.reads.first().is_some_and(|read| read.hash.is_some());
        let reads = if off_main_thread {
            self.reads_work()
        } else {
            0
        };
        let steps = if self.journal.applied {
            0
        } else {
            self.journal.work()
        };
        self.write_set
            .work()
            .saturating_add(accesses)
            .saturating_add(reads)
            .saturating_add(steps)
    }

    /// Returns the units of doing all reads again.
    pub(crate) fn reads_work(&self) -> u64 {
        let work = self.reads.iter().map(|read| read.work);
        work.fold(0, u64::saturating_add)
    }

    /// Notes work that was done beyond what is charged for the operation.
    pub(crate) fn add_work(&self, units: u64) {
        self.extra_work
            .set(self.extra_work.get().saturating_add(units));
    }

    /// Notes that the last read has read this many bytes.
    pub(crate) fn note_read_bytes(&mut self, count: usize) {
        if let Some(read) = self.reads.last_mut() {
            read.work = read.work.max(LOOKUP + bytes(count as u64));
        }
    }

    /// Returns true if its capacity is much more than most calls need.
    fn is_large(&self) -> bool {
        self.reads.capacity().max(self.write_set.capacity()) > ENTRIES_KEEP
    }

    /// Forgets everything that the call has read and written, for another attempt.
    pub(crate) fn restart(&mut self) {
        self.now = None;
        self.write_set.clear();
        self.reads.clear();
        self.last = None;
        self.journal.clear();
        self.reads_latest = false;
        self.undivided = false;
        self.conflict = false;
        self.may_write = false;
        self.rights.clear();
        self.records.clear();
        self.required.clear();
        self.event_depth = 0;
        self.own_keys.clear();
    }
}

impl Call {
    pub(crate) fn new(args: Args, database: u32) -> Self {
        Self {
            args,
            keys: AtomicU64::new(0),
            index: OnceLock::new(),
            database,
        }
    }

    /// Makes a new call of one that is over.
    pub(crate) fn begin(&mut self, args: Args, database: u32) {
        self.args = args;
        *self.keys.get_mut() = 0;
        self.index.take();
        self.database = database;
    }

    /// Says which arguments are keys. The server limits the number of arguments to less than 32
    /// bits hold.
    pub(crate) fn set_keys(&self, keys: Range<usize>) {
        if let (Ok(start), Ok(end)) = (u32::try_from(keys.start), u32::try_from(keys.end)) {
            let keys = u64::from(start) << u32::BITS | u64::from(end);
            self.keys.store(keys, Ordering::Relaxed);
        }
    }

    fn keys(&self) -> Range<u32> {
        let keys = self.keys.load(Ordering::Relaxed);
        (keys >> u32::BITS) as u32..keys as u32
    }

    /// Returns the reference to a key: its position if the command declared it, or else its name.
    pub(crate) fn key(&self, name: &[u8]) -> KeyRef {
        match self.declared(name) {
            Some(at) => KeyRef::Declared(at),
            None => KeyRef::Other(name.into()),
        }
    }

    /// Returns the position of a key that the command declared.
    fn declared(&self, name: &[u8]) -> Option<u32> {
        let mut keys = self.keys();
        if keys.len() < INDEXED_FROM {
            keys.find(|&at| self.args.bytes(at as usize) == name)
        } else {
            self.index.get_or_init(|| self.indexed()).get(name).copied()
        }
    }

    /// Returns the first place of each declared key.
    fn indexed(&self) -> HashMap<Box<[u8]>, u32, foldhash::fast::RandomState> {
        let keys = self.keys().rev();
        keys.map(|at| (self.args.bytes(at as usize).into(), at))
            .collect()
    }

    /// Returns the words of a command after its name as strings of the server. The first of them, which is the
    /// key of most commands, is the call's own argument if that declares it.
    pub(crate) fn words<'c>(&'c self, context: Context<'c>, words: &[&[u8]]) -> CommandWords<'c> {
        let mut strings = CommandWords::new();
        for (at, word) in words.iter().enumerate() {
            let declared = (at == 0).then(|| self.declared(word)).flatten();
            let argument = declared.and_then(|at| self.args.string(at as usize));
            strings.push(match argument {
                Some(argument) => Named::Argument(argument),
                None => Named::Own(context.string(word)),
            });
        }
        strings
    }

    /// Returns a key's name.
    pub(crate) fn name<'k>(&'k self, key: &'k KeyRef) -> &'k [u8] {
        match key {
            KeyRef::Declared(at) => self.args.bytes(*at as usize),
            KeyRef::Other(name) => name,
        }
    }

    /// Returns a key's name as a string of the server: the command's own argument if the key was
    /// declared.
    pub(crate) fn string<'c>(&'c self, context: Context<'c>, key: &KeyRef) -> Named<'c> {
        let declared = match key {
            KeyRef::Declared(at) => self.args.string(*at as usize),
            KeyRef::Other(_) => None,
        };
        declared.map_or_else(
            || Named::Own(context.string(self.name(key))),
            Named::Argument,
        )
    }
}

/// The error of a data access outside of a call.
pub(crate) fn outside_of_call() -> StoreError {
    StoreError::Failed("there is no data outside of a call".into())
}
