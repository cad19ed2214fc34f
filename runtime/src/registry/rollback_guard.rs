//! Refuses a release that is older than one of the same function that was loaded before.

use std::collections::BTreeMap;

use crate::error::{CallError, Code};
use crate::registry::record::{FunctionName, Record};

/// The highest sequence number loaded of each function. It stays after an unload, so that an old
/// release cannot come back.
pub(crate) type Sequences = BTreeMap<FunctionName, u64>;

/// Refuses a release that is older than one that was loaded before.
pub(crate) fn check(
    sequences: &Sequences,
    name: &FunctionName,
    sequence: u64,
) -> Result<(), CallError> {
    match sequences.get(name) {
        Some(&seen) if sequence < seen => Err(CallError::new(
            Code::BadSignature,
            format!(
                "the bundle has sequence {sequence}, and sequence {seen} of \"{name}\" was loaded here before; sign the release again with a higher one to go back to it"
            ),
        )),
        _ => Ok(()),
    }
}

/// Notes a function's release, unless a newer one was loaded meanwhile.
pub(crate) fn note(sequences: &mut Sequences, record: &Record) -> Result<(), CallError> {
    if let Some(release) = &record.release {
        check(sequences, &record.name, release.sequence)?;
        sequences.insert(record.name.clone(), release.sequence);
    }
    Ok(())
}

/// Notes a function's release if it is the highest so far, and accepts an older one as it is.
pub(crate) fn raise(sequences: &mut Sequences, record: &Record) {
    if let Some(release) = &record.release {
        let highest = sequences.entry(record.name.clone()).or_default();
        *highest = (*highest).max(release.sequence);
    }
}
