//! One call's words, shared by all that belongs to it, and its view of the data, which is lent to it
//! with its place.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use ferrite_protocol::keyspace::StoreError;
use smallvec::SmallVec;

use crate::api::context::Context;
use crate::api::string::{Args, Borrowed, Owned};
use crate::transaction::journal::Journal;
use crate::transaction::read_set::Read;
use crate::transaction::write_set::{KeyRef, WriteSet};

/// A short string, or none.
pub(crate) type Short = Option<SmallVec<[u8; SHORT_MAX]>>;

/// Strings of so many bytes are remembered: counters and the like, which are read and then changed.
pub(crate) const SHORT_MAX: usize = 24;

/// Room for more reads or changes than these is not kept for the next call.
const ENTRIES_KEEP: usize = 64;

/// One call of a function, as the server sees it.
pub(crate) struct Call {
    pub(crate) args: Args,
    /// Which of the words are its keys: where they begin, and in the lower half where they end.
    keys: AtomicU64,
    pub(crate) database: u32,
}

/// What a call has read and written so far.
#[derive(Default)]
pub(crate) struct CallState {
    /// The call's time, in milliseconds since 1970.
    pub(crate) now: Option<i64>,
    pub(crate) write_set: WriteSet,
    pub(crate) reads: Vec<Read>,
    /// The last short string that the server had at a key, while it stands still.
    pub(crate) last: Option<(KeyRef, Short)>,
    pub(crate) journal: Journal,
    /// Others changed what it had read.
    pub(crate) conflict: bool,
    /// Whether writing was found to be possible at all.
    pub(crate) may_write: bool,
    /// Keys beyond the declared ones that it was found to be allowed, and whether to write.
    pub(crate) allowed: Vec<(Box<[u8]>, bool)>,
}

impl CallState {
    /// Prepares for another call, with room that it will want; `false` where the last one left
    /// something that is to be rolled back. A transaction that was committed or rolled back forgot all
    /// that it had read and written.
    pub(crate) fn end(&mut self) -> bool {
        if self.journal.is_active() || !self.write_set.is_empty() || !self.reads.is_empty() {
            return false;
        }
        if self.is_large() {
            *self = Self::default();
        }
        true
    }

    /// Whether it has room for much more than most calls want.
    fn is_large(&self) -> bool {
        self.reads.capacity().max(self.write_set.capacity()) > ENTRIES_KEEP
    }

    /// Forgets all that a try has read and written.
    pub(crate) fn restart(&mut self) {
        self.now = None;
        self.write_set.clear();
        self.reads.clear();
        self.last = None;
        self.journal.clear();
        self.conflict = false;
        self.may_write = false;
        self.allowed.clear();
    }
}

impl Call {
    pub(crate) fn new(args: Args, database: u32) -> Self {
        Self {
            args,
            keys: AtomicU64::new(0),
            database,
        }
    }

    /// Makes another call of one that is over.
    pub(crate) fn begin(&mut self, args: Args, database: u32) {
        self.args = args;
        *self.keys.get_mut() = 0;
        self.database = database;
    }

    /// Says which of the words are keys. The server takes no command of so many words that this does
    /// not hold them.
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

    /// What a key is known by here.
    pub(crate) fn key(&self, name: &[u8]) -> KeyRef {
        let declared = self.keys().find(|&at| self.args.bytes(at as usize) == name);
        match declared {
            Some(at) => KeyRef::Declared(at),
            None => KeyRef::Other(name.into()),
        }
    }

    /// A key's name.
    pub(crate) fn name<'k>(&'k self, key: &'k KeyRef) -> &'k [u8] {
        match key {
            KeyRef::Declared(at) => self.args.bytes(*at as usize),
            KeyRef::Other(name) => name,
        }
    }

    /// A key's name as the server's string: the command's own word where it is one.
    pub(crate) fn string<'c>(&'c self, context: Context<'c>, key: &KeyRef) -> Named<'c> {
        let declared = match key {
            KeyRef::Declared(at) => self.args.string(*at as usize),
            KeyRef::Other(_) => None,
        };
        declared.map_or_else(|| Named::Own(context.string(self.name(key))), Named::Word)
    }
}

/// A string that is the command's, or was made for the purpose.
pub(crate) enum Named<'c> {
    Word(Borrowed<'c>),
    Own(Owned<'c>),
}

impl Named<'_> {
    pub(crate) fn borrow(&self) -> Borrowed<'_> {
        match self {
            Self::Word(word) => *word,
            Self::Own(owned) => owned.borrow(),
        }
    }
}

/// The error of an access outside of a call.
pub(crate) fn outside_of_call() -> StoreError {
    StoreError::Failed("there is no data outside of a call".into())
}
