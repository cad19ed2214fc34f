//! A schedule as it is kept across restarts: JSON in a record of the host, `schedule/` and its id.

use serde::{Deserialize, Serialize};

use super::when::{Missed, When};
use crate::automation::bytes::Bytes;
use crate::automation::trigger::definition::{function_of, is_false};
use crate::registry::record::FunctionName;

/// Begins the names of the records of schedules.
pub(crate) const PREFIX: &[u8] = b"schedule/";

/// Longest text of an outcome, in bytes.
const OUTCOME_BYTES_MAX: usize = 512;

/// Time until a run that was lost is tried again, if no other one is due.
const AGAIN_MILLIS: i64 = 1_000;

/// A schedule with what became of its last run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schedule {
    pub(crate) id: FunctionName,
    /// `name` or `name.entry`.
    pub(crate) function: Bytes,
    pub(crate) when: When,
    pub(crate) missed: Missed,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<Bytes>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) args: Vec<Bytes>,
    pub(crate) database: u32,
    /// Time at which it was added.
    pub(crate) added: i64,
    /// The next due time; `None` if there is none any more.
    pub(crate) next: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<LastRun>,
    #[serde(default)]
    pub(crate) runs: u64,
    #[serde(default)]
    pub(crate) errors: u64,
    /// True if the module of its function declares it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) declared: bool,
}

/// The last run of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LastRun {
    /// Its start.
    pub(crate) at: i64,
    /// `OK`, or its error.
    pub(crate) outcome: Box<str>,
}

impl Schedule {
    /// Returns the name of its record.
    pub(crate) fn record_name(&self) -> Vec<u8> {
        record_name(self.id.as_bytes())
    }

    /// Returns the content of its record.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Its fields are numbers and texts, which JSON can hold.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Returns true if the module of this function declares it.
    pub(crate) fn is_declared_by(&self, function: &[u8]) -> bool {
        self.declared && function_of(&self.function) == function
    }

    /// Returns true if it does the same at the same times as another one of its id, whenever they were added.
    pub(crate) fn does_the_same(&self, other: &Self) -> bool {
        let Self {
            id,
            function,
            when,
            missed,
            keys,
            args,
            database,
            added: _,
            next: _,
            last: _,
            runs: _,
            errors: _,
            declared,
        } = self;
        (id, function, when, missed) == (&other.id, &other.function, &other.when, &other.missed)
            && (keys, args) == (&other.keys, &other.args)
            && (*database, *declared) == (other.database, other.declared)
    }

    /// Returns the key by which a server of a cluster is chosen to run it: its first key, or its id.
    pub(crate) fn place(&self) -> &[u8] {
        let first = self.keys.first();
        first.map_or(self.id.as_bytes(), |key| &key.0)
    }

    /// Notes a run that began at `at` and ended at `now`, and the next due time.
    pub(crate) fn note_run(&mut self, at: i64, now: i64, error: Option<&str>) {
        self.runs += 1;
        self.errors += u64::from(error.is_some());
        let outcome = error.unwrap_or("OK");
        let mut end = outcome.len().min(OUTCOME_BYTES_MAX);
        while !outcome.is_char_boundary(end) {
            end -= 1;
        }
        self.last = Some(LastRun {
            at,
            outcome: outcome[..end].into(),
        });
        let planned = self.next.unwrap_or(at);
        self.next = self.due_after(planned, now);
    }

    /// Notes a run of which nothing took effect, and nothing can be kept. One that would not come again is due
    /// again soon.
    pub(crate) fn note_lost_run(&mut self, at: i64, now: i64, error: &str) {
        self.note_run(at, now, Some(error));
        self.next = self.next.or(Some(now + AGAIN_MILLIS));
    }

    /// Returns the due time that follows `planned`, which may lie before `now` if missed times count.
    pub(crate) fn due_after(&self, planned: i64, now: i64) -> Option<i64> {
        let next = self.when.next_after(planned, self.added)?;
        match self.missed {
            Missed::Skip if next <= now => self.when.next_after(now, self.added),
            // The later ones that were missed count as this one.
            Missed::Once if next <= now => Some(now),
            Missed::Skip | Missed::Once => Some(next),
        }
    }

    /// Settles, at the start of the server, what became of times that passed while it did not run.
    /// Returns true if it changed anything.
    pub(crate) fn settle_missed(&mut self, now: i64) -> bool {
        let Some(next) = self.next.filter(|next| *next <= now) else {
            return false;
        };
        if self.missed == Missed::Once {
            // It is due at once.
            return false;
        }
        self.next = self.when.next_after(now, self.added);
        if self.next.is_none() {
            self.last = Some(LastRun {
                at: next,
                outcome: "missed: the server did not run at this time".into(),
            });
        }
        true
    }
}

pub(crate) fn record_name(id: &[u8]) -> Vec<u8> {
    [PREFIX, id].concat()
}

#[cfg(test)]
mod tests {
    use super::{Missed, Schedule, When};
    use crate::automation::bytes::Bytes;
    use crate::registry::record::FunctionName;

    fn schedule(when: When, missed: Missed, next: i64) -> Schedule {
        Schedule {
            id: FunctionName::parse(b"id").expect("a name"),
            function: Bytes(b"f.run".as_slice().into()),
            when,
            missed,
            keys: vec![Bytes([0, 255].into())],
            args: Vec::new(),
            database: 3,
            added: 0,
            next: Some(next),
            last: None,
            runs: 0,
            errors: 0,
            declared: false,
        }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let mut one = schedule(When::Every(100), Missed::Once, 100);
        one.note_run(101, 102, Some("TRAP it failed"));
        assert_eq!(Schedule::parse(&one.to_bytes()).expect("its own form"), one);
        assert_eq!((one.runs, one.errors, one.next), (1, 1, Some(200)));
        assert!(Schedule::parse(b"{}").is_err());
    }

    #[test]
    fn a_run_that_was_lost_comes_again() {
        let mut at = schedule(When::At(100), Missed::Skip, 100);
        at.note_lost_run(100, 101, "STORE full");
        assert_eq!((at.runs, at.errors, at.next), (1, 1, Some(1_101)));
        at.note_run(1_101, 1_102, None);
        assert_eq!((at.runs, at.errors, at.next), (2, 1, None));
        let mut every = schedule(When::Every(100), Missed::Skip, 100);
        every.note_lost_run(100, 101, "STORE full");
        assert_eq!(every.next, Some(200));
    }

    #[test]
    fn missed_times_are_skipped_or_made_up_once() {
        let mut skip = schedule(When::Every(100), Missed::Skip, 100);
        skip.note_run(100, 450, None);
        assert_eq!(skip.next, Some(500));
        let mut once = schedule(When::Every(100), Missed::Once, 100);
        once.note_run(100, 450, None);
        assert_eq!(once.next, Some(450));
        once.note_run(450, 460, None);
        assert_eq!(once.next, Some(500));
    }

    #[test]
    fn a_start_settles_what_was_missed() {
        let mut skip = schedule(When::Every(100), Missed::Skip, 100);
        assert!(skip.settle_missed(1050));
        assert_eq!((skip.next, &skip.last), (Some(1100), &None));
        assert!(!skip.settle_missed(1050));
        let mut at = schedule(When::At(100), Missed::Skip, 100);
        assert!(at.settle_missed(1050));
        assert_eq!(at.next, None);
        assert!(
            at.last
                .expect("it was missed")
                .outcome
                .starts_with("missed")
        );
        let mut once = schedule(When::At(100), Missed::Once, 100);
        assert!(!once.settle_missed(1050));
        assert_eq!(once.next, Some(100));
        once.note_run(1050, 1051, None);
        assert_eq!(once.next, None);
    }

    #[test]
    fn a_long_outcome_is_cut_between_characters() {
        let mut one = schedule(When::Every(100), Missed::Skip, 100);
        one.note_run(100, 101, Some(&"\u{e9}".repeat(400)));
        assert_eq!(one.last.expect("it ran").outcome.len(), 512);
    }
}
