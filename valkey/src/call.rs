//! One call's words and its view of the data, shared by whoever polls it and its transaction.

use std::ops::Range;
use std::sync::OnceLock;

use ferrite_runtime::keyspace::StoreError;
use parking_lot::Mutex;

use crate::context::Context;
use crate::journal::Journal;
use crate::overlay::{KeyRef, Overlay};
use crate::reads::Read;
use crate::runner::Order;
use crate::words::{Borrowed, Owned, Words};

/// A reply's buffer larger than this is not kept for the next call.
const BUFFER_KEEP_BYTES: usize = 64 << 10;

/// Room for more reads or changes than these is not kept either.
const ENTRIES_KEEP: usize = 64;

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
    /// What is to be done, until it is begun.
    pub(crate) order: Option<Order>,
    /// The reply, once there is one; before that, a buffer for it.
    pub(crate) reply: Vec<u8>,
    /// Whether there is a reply.
    pub(crate) answered: bool,
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
    fn of(order: Order) -> Self {
        Self {
            order: Some(order),
            ..Self::default()
        }
    }

    /// Whether it has room for much more than most calls want.
    fn is_large(&self) -> bool {
        self.reads.capacity().max(self.overlay.capacity()) > ENTRIES_KEEP
    }

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

    /// A call that is to be run.
    pub(crate) fn ordered(words: Words, database: u32, order: Order) -> Self {
        Self {
            state: Mutex::new(State::of(order)),
            ..Self::new(words, database)
        }
    }

    /// Makes another call of one that has [ended](Self::end).
    pub(crate) fn begin(&mut self, words: Words, database: u32, order: Order) {
        self.words = words;
        self.database = database;
        let state = self.state.get_mut();
        state.order = Some(order);
        state.closed = false;
    }

    /// Forgets the call, but for room that the next one will want; `reply` is a buffer for that.
    pub(crate) fn end(&mut self, mut reply: Vec<u8>) {
        self.words = Words::none();
        let _ = self.keys.take();
        let state = self.state.get_mut();
        if state.is_large() || reply.capacity() > BUFFER_KEEP_BYTES {
            *state = State::default();
            return;
        }
        state.restart();
        reply.clear();
        state.reply = reply;
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
