//! What a call did with commands that write, and the keys as they were before; see `journalled`.

use crate::overlay::{Change, KeyRef};
use crate::reads::What;

/// What was done, in order.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) steps: Vec<Step>,
    /// The first state of every key that a step changed, while the steps are applied.
    pub(crate) aside: Vec<Aside>,
    pub(crate) applied: bool,
}

pub(crate) enum Step {
    /// A command, and a hash of its reply.
    Command { argv: Vec<Box<[u8]>>, seen: u64 },
    /// What the typed operations had collected for a key.
    Flush { key: KeyRef, change: Change },
    /// A read in between, and a hash of what it saw.
    Read { what: What, seen: u64 },
}

/// A key as it was.
pub(crate) struct Aside {
    pub(crate) key: Box<[u8]>,
    /// The server's own form of the value, and when it ends; nothing if there was no such key.
    pub(crate) value: Option<(Vec<u8>, Option<i64>)>,
}

impl Journal {
    /// Whether commands were run that write.
    pub(crate) fn is_active(&self) -> bool {
        !self.steps.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.steps.clear();
        self.aside.clear();
        self.applied = false;
    }
}
