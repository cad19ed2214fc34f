//! Figures of triggers, schedules and the outbox, for metrics.

/// Figures of all triggers and schedules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutomationFigures {
    /// Events that wait to be delivered.
    pub pending_events: usize,
    /// Bytes of their records.
    pub pending_bytes: usize,
    /// Triggers, in the order of their names.
    pub triggers: Vec<TriggerFigures>,
    /// Schedules, in the order of their ids.
    pub schedules: Vec<ScheduleFigures>,
}

/// Figures of a trigger since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerFigures {
    /// Its name: `A-Z a-z 0-9 _ : -`.
    pub name: String,
    /// Events that it got: queued, or looked at before their commit.
    pub events: u64,
    /// Events whose call succeeded.
    pub delivered: u64,
    /// Calls that failed, those that refused a write included.
    pub failures: u64,
    /// Events that were given up, or lost.
    pub given_up: u64,
    /// Times that an event was to be given up and could not, because that could not be kept.
    pub not_given_up: u64,
}

/// Figures of a schedule since it was added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleFigures {
    /// Its id: `A-Z a-z 0-9 _ : -`.
    pub id: String,
    /// Runs.
    pub runs: u64,
    /// Runs that failed.
    pub errors: u64,
}

/// The requests that an outbox has at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxUsage {
    /// Requests that wait, those that are being sent included.
    pub pending: usize,
    /// Bytes of their records.
    pub pending_bytes: usize,
    /// Requests that were given up and are kept.
    pub dead: usize,
}

/// Figures of the outbox; counters are since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxFigures {
    /// Requests that wait, those that are being sent included.
    pub pending: usize,
    /// Bytes of their records.
    pub pending_bytes: usize,
    /// Requests that were given up and are kept.
    pub dead: usize,
    /// True if another server sends, which has those that wait and those that were given up.
    pub is_elsewhere: bool,
    /// Requests that calls have committed.
    pub queued: u64,
    /// Requests that a server has accepted.
    pub sent: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Requests that were given up.
    pub given_up: u64,
    /// The error of the last try that failed.
    pub last_error: Option<Box<str>>,
}
