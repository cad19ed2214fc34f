//! A call's commands that write, and their undo steps; `undo_log.rs` uses it.

use ferrite_protocol::argv::OwnedArgv;
use ferrite_protocol::budget::{COMMAND, LOOKUP};

use crate::records::capture::Seen;
use crate::transaction::read_set::ReadKind;
use crate::transaction::write_set::{Change, KeyRef};

/// The steps of a call, in order.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) steps: Vec<Step>,
    /// True once there was a step, also one that is not remembered.
    active: bool,
    /// Undo steps for everything applied, in the order in which it was applied.
    pub(crate) undo: Vec<Undo>,
    /// True while the steps are applied to the server's data.
    pub(crate) applied: bool,
    /// Events that the applied steps caused, to be queued at the commit.
    pub(crate) events: Vec<Seen>,
}

pub(crate) enum Step {
    /// A command, a hash of its reply, and the units of work of doing it again.
    Command {
        argv: OwnedArgv,
        seen: u64,
        work: u64,
    },
    /// A change that the typed operations had collected for a key.
    Flush { key: KeyRef, change: Change },
    /// A read between commands, and a hash of its result.
    Read { kind: ReadKind, seen: u64 },
}

/// Undo of one step.
pub(crate) enum Undo {
    /// Restores a key: the value as `DUMP` wrote it, and its expiry in milliseconds since 1970;
    /// `None` if the key did not exist.
    Restore {
        key: Box<[u8]>,
        value: Option<(Vec<u8>, Option<i64>)>,
    },
    /// Runs a command.
    Command(OwnedArgv),
}

impl Journal {
    /// Returns true if commands that write were run.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Adds a step. A call that is `undivided` never does it again, and it is not remembered.
    pub(crate) fn add(&mut self, undivided: bool, step: impl FnOnce() -> Step) {
        self.active = true;
        if !undivided {
            self.steps.push(step());
        }
    }

    /// Returns the units of doing all steps again.
    pub(crate) fn work(&self) -> u64 {
        let work = |step: &Step| match step {
            Step::Command { work, .. } => *work,
            Step::Flush { .. } => COMMAND,
            Step::Read { .. } => LOOKUP,
        };
        self.steps.iter().map(work).fold(0, u64::saturating_add)
    }

    pub(crate) fn clear(&mut self) {
        self.steps.clear();
        self.active = false;
        self.undo.clear();
        self.applied = false;
        self.events.clear();
    }
}
