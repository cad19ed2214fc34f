//! What a call did with commands that write, and how to undo it; see `run_journaled`.

use crate::transaction::read_set::ReadKind;
use crate::transaction::write_set::{Change, KeyRef};

/// What was done, in order.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) steps: Vec<Step>,
    /// How to undo what was applied, in the order in which it was.
    pub(crate) undo: Vec<Undo>,
    pub(crate) applied: bool,
}

pub(crate) enum Step {
    /// A command, and a hash of its reply.
    Command { argv: Vec<Box<[u8]>>, seen: u64 },
    /// What the typed operations had collected for a key.
    Flush { key: KeyRef, change: Change },
    /// A read in between, and a hash of what it saw.
    Read { kind: ReadKind, seen: u64 },
}

/// How something is undone.
pub(crate) enum Undo {
    /// By putting a key back as it was: the server's own form of the value, and when it ends; nothing
    /// if there was no such key.
    Restore {
        key: Box<[u8]>,
        value: Option<(Vec<u8>, Option<i64>)>,
    },
    /// By a command.
    Command(Vec<Box<[u8]>>),
}

impl Journal {
    /// Whether commands were run that write.
    pub(crate) fn is_active(&self) -> bool {
        !self.steps.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.steps.clear();
        self.undo.clear();
        self.applied = false;
    }
}
