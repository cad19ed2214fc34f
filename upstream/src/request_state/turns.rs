//! The slots of a cluster that the server which sends looks at for requests, some in each turn.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::Mutex;

/// The slots to look at next.
#[derive(Debug, Default)]
pub(crate) struct RequestTurns(pub(crate) Mutex<Turns>);

#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Moment at which all slots with requests were asked for last.
    pub(crate) all_read: Option<Instant>,
    /// Slots that wait to be looked at.
    pub(crate) queue: VecDeque<u16>,
    /// True if all slots were read and those without requests are still to be forgotten.
    pub(crate) prunes: bool,
}

impl RequestTurns {
    /// Lets the next turn begin with all slots.
    pub(crate) fn begin(&self) {
        *self.0.lock() = Turns::default();
    }
}
