//! One call's words and its view of the data, shared by whoever polls it and its transaction.

use std::ops::Range;
use std::sync::OnceLock;

use ferrite_runtime::keyspace::StoreError;
use parking_lot::Mutex;

use crate::context::Context;
use crate::journal::Journal;
use crate::overlay::{KeyRef, Overlay};
use crate::reads::Read;
use crate::words::{Borrowed, Owned, Words};

/// One call of a function, as the server sees it.
pub(crate) struct Call {
    pub(crate) words: Words,
    /// Which of the words are its keys.
    keys: OnceLock<Range<usize>>,
    pub(crate) database: u32,
    pub(crate) state: Mutex<State>,
}

/// What a call has read and written so far.
#[derive(Default)]
pub(crate) struct State {
    /// Whether the call is over: nothing may be asked of it any more.
    pub(crate) closed: bool,
    /// The call's time, in milliseconds since 1970.
    pub(crate) now: Option<i64>,
    pub(crate) overlay: Overlay,
    pub(crate) reads: Vec<Read>,
    pub(crate) journal: Journal,
    /// Others changed what it had read.
    pub(crate) conflict: bool,
    /// Whether writing was found to be possible at all.
    pub(crate) may_write: bool,
    /// Keys beyond the declared ones that it was found to be allowed, and whether to write.
    pub(crate) allowed: Vec<(Box<[u8]>, bool)>,
}

impl State {
    /// Forgets all that a try has read and written.
    pub(crate) fn restart(&mut self) {
        self.now = None;
        self.overlay.clear();
        self.reads.clear();
        self.journal.clear();
        self.conflict = false;
        self.may_write = false;
        self.allowed.clear();
    }
}

impl Call {
    pub(crate) fn new(words: Words, database: u32) -> Self {
        Self {
            words,
            keys: OnceLock::new(),
            database,
            state: Mutex::default(),
        }
    }

    /// Says which of the words are keys; the first to say so is right.
    pub(crate) fn set_keys(&self, keys: Range<usize>) {
        let _ = self.keys.set(keys);
    }

    /// What a key is known by here.
    pub(crate) fn key(&self, name: &[u8]) -> KeyRef {
        let declared = self
            .keys
            .get()
            .and_then(|keys| keys.clone().find(|&at| self.words.bytes(at) == name))
            .and_then(|at| u32::try_from(at).ok());
        match declared {
            Some(at) => KeyRef::Declared(at),
            None => KeyRef::Other(name.into()),
        }
    }

    /// A key's name.
    pub(crate) fn name<'k>(&'k self, key: &'k KeyRef) -> &'k [u8] {
        match key {
            KeyRef::Declared(at) => self.words.bytes(*at as usize),
            KeyRef::Other(name) => name,
        }
    }

    /// A key's name as the server's string: the command's own word where it is one.
    pub(crate) fn string<'c>(&'c self, context: Context<'c>, key: &KeyRef) -> Named<'c> {
        let declared = match key {
            KeyRef::Declared(at) => self.words.string(*at as usize),
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
pub(crate) fn nowhere() -> StoreError {
    StoreError::Failed("there is no data outside of a call".into())
}
