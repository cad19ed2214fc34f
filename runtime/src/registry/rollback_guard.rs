//! Refuses a release that is older than one of the same function that was loaded before.

use std::collections::BTreeMap;

use crate::error::{CallError, Code};
use crate::registry::record::{FunctionName, Record};

/// The highest sequence number loaded of each function. It stays after an unload, so that an old
/// release cannot come back.
pub(crate) type Sequences = BTreeMap<FunctionName, u64>;

/// The sequence numbers while they are changed: those from before, and what changes.
pub(crate) struct ChangedSequences<'a> {
    before: &'a Sequences,
    changed: Sequences,
}

impl<'a> ChangedSequences<'a> {
    pub(crate) const fn new(before: &'a Sequences) -> Self {
        Self {
            before,
            changed: Sequences::new(),
        }
    }

    /// Returns the changes.
    pub(crate) fn into_changes(self) -> Sequences {
        self.changed
    }

    fn get(&self, name: &FunctionName) -> Option<u64> {
        self.changed.get(name).or(self.before.get(name)).copied()
    }

    fn set(&mut self, name: &FunctionName, sequence: u64) {
        if self.get(name) != Some(sequence) {
            self.changed.insert(name.clone(), sequence);
        }
    }
}

/// Refuses a release that is older than one that was loaded before.
pub(crate) fn check(
    sequences: &Sequences,
    name: &FunctionName,
    sequence: u64,
) -> Result<(), CallError> {
    check_after(sequences.get(name).copied(), name, sequence)
}

fn check_after(seen: Option<u64>, name: &FunctionName, sequence: u64) -> Result<(), CallError> {
    match seen {
        Some(seen) if sequence < seen => Err(CallError::new(
            Code::BadSignature,
            format!(
                "the bundle has sequence {sequence}, and sequence {seen} of \"{name}\" was loaded here before; sign the release again with a higher one to go back to it"
            ),
        )),
        _ => Ok(()),
    }
}

/// Notes a function's release, unless a newer one was loaded meanwhile.
pub(crate) fn note(sequences: &mut ChangedSequences<'_>, record: &Record) -> Result<(), CallError> {
    if let Some(release) = &record.release {
        check_after(sequences.get(&record.name), &record.name, release.sequence)?;
        sequences.set(&record.name, release.sequence);
    }
    Ok(())
}

/// Notes a function's release if it is the highest so far, and accepts an older one as it is.
pub(crate) fn raise(sequences: &mut ChangedSequences<'_>, record: &Record) {
    if let Some(release) = &record.release {
        let highest = sequences.get(&record.name).unwrap_or_default();
        sequences.set(&record.name, highest.max(release.sequence));
    }
}
