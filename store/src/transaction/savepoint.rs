//! Savepoints: a part of a transaction's writes is taken back, and the rest stays.

use super::Transaction;
use crate::keyspace::effect::Effects;
use crate::transaction::read_write_set::{Seen, Touched, Write};
use crate::value::Value;
use crate::value::deadline::Deadline;

/// The changes since a savepoint, so that they can be taken back.
///
/// Each key is recorded once, before its first change. So the record grows with the keys that were
/// changed since, and not with those of the whole transaction.
#[derive(Debug)]
pub(super) struct Savepoint {
    /// Tells the keys that this savepoint has recorded from others.
    number: u32,
    changed: Vec<Changed>,
    /// Effects on a collection that was replaced or removed since.
    dropped: Vec<(usize, Effects)>,
    database: u32,
    cleared: u16,
    written_bytes: usize,
    /// Number of changes of records.
    records: usize,
    /// Number of events.
    events: usize,
}

/// A key as it was at the savepoint.
#[derive(Debug)]
struct Changed {
    at: usize,
    value: Option<Value>,
    deadline: Deadline,
    unread: bool,
    write: WriteBefore,
}

/// The write of a key at the savepoint.
#[derive(Debug)]
enum WriteBefore {
    Nothing,
    /// The first effects, this many.
    Edited(usize),
    Whole,
}

impl Transaction {
    /// Marks the present state for [`Transaction::take_back`]. An earlier savepoint is forgotten.
    pub(crate) fn mark(&mut self) {
        self.savepoints += 1;
        self.savepoint = Some(Box::new(Savepoint {
            number: self.savepoints,
            changed: Vec::new(),
            dropped: Vec::new(),
            database: self.database,
            cleared: self.cleared,
            written_bytes: self.written_bytes,
            records: self.records.len(),
            events: self.recorder.as_ref().map_or(0, |recorder| recorder.len()),
        }));
    }

    /// Takes back every write since the savepoint, which stays. What was read since is still checked
    /// at the commit: the decision to take the writes back may depend on it.
    pub(crate) fn take_back(&mut self) {
        let Some(mut savepoint) = self.savepoint.take() else {
            return;
        };
        let uncleared = self.cleared & !savepoint.cleared;
        self.database = savepoint.database;
        self.cleared = savepoint.cleared;
        self.written_bytes = savepoint.written_bytes;
        self.records.truncate(savepoint.records);
        if let Some(recorder) = &mut self.recorder {
            recorder.truncate(savepoint.events);
        }
        for changed in savepoint.changed.drain(..) {
            let Changed {
                at,
                value,
                deadline,
                unread,
                write,
            } = changed;
            let touched = &mut self.keys[at];
            touched.value = value;
            touched.deadline = deadline;
            touched.unread = unread;
            touched.savepoint = 0;
            let write_now = std::mem::replace(&mut touched.write, Write::Nothing);
            touched.write = match (write, write_now) {
                (WriteBefore::Nothing, _) => Write::Nothing,
                (WriteBefore::Whole, _) => Write::Whole,
                (WriteBefore::Edited(len), Write::Edited(mut effects)) => {
                    effects.truncate(len);
                    Write::Edited(effects)
                }
                (WriteBefore::Edited(len), _) => {
                    let dropped = savepoint.dropped.iter().position(|&(key, _)| key == at);
                    let mut effects = dropped
                        .map(|index| savepoint.dropped.swap_remove(index).1)
                        .unwrap_or_default();
                    effects.truncate(len);
                    Write::Edited(effects)
                }
            };
        }
        if uncleared != 0 {
            // These keys were absent only because their database had been cleared.
            for touched in self.keys.iter_mut() {
                if uncleared & (1 << touched.database) != 0
                    && touched.seen == Seen::Nothing
                    && !touched.is_written()
                {
                    touched.unread = true;
                }
            }
        }
        savepoint.dropped.clear();
        self.savepoint = Some(savepoint);
    }

    /// Records a key before it is changed. Does nothing without a savepoint.
    #[inline]
    pub(super) fn record(&mut self, at: usize) {
        if let Some(savepoint) = &mut self.savepoint {
            savepoint.record(at, &mut self.keys[at]);
        }
    }

    /// Records a key that was pushed without being read.
    #[inline]
    pub(super) fn record_pushed(&mut self, at: usize) {
        if let Some(savepoint) = &mut self.savepoint {
            self.keys[at].savepoint = savepoint.number;
            savepoint.changed.push(Changed {
                at,
                value: None,
                deadline: Deadline::NEVER,
                unread: true,
                write: WriteBefore::Nothing,
            });
        }
    }

    /// Makes the commit write the whole value of a key. The caller has recorded the key.
    #[inline]
    pub(super) fn write_whole(&mut self, at: usize) {
        let old = std::mem::replace(&mut self.keys[at].write, Write::Whole);
        if let (Some(savepoint), Write::Edited(effects)) = (&mut self.savepoint, old) {
            savepoint.dropped.push((at, effects));
        }
    }
}

impl Savepoint {
    #[cold]
    fn record(&mut self, at: usize, touched: &mut Touched) {
        if touched.savepoint == self.number {
            return;
        }
        touched.savepoint = self.number;
        self.changed.push(Changed {
            at,
            value: touched.value.clone(),
            deadline: touched.deadline,
            unread: touched.unread,
            write: match &touched.write {
                Write::Nothing => WriteBefore::Nothing,
                Write::Edited(effects) => WriteBefore::Edited(effects.len()),
                Write::Whole => WriteBefore::Whole,
            },
        });
    }
}
