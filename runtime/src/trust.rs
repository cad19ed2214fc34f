//! Whose native code is loaded, and that no release comes after a newer one.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use ferrite_cache::bundle::Trust;

use crate::error::{CallError, Code};
use crate::record::FunctionName;

/// Whose native code is loaded.
#[derive(Clone, Debug, Default)]
pub struct TrustOptions {
    /// The keys whose bundles are believed, and those that are believed no more.
    pub trust: Trust,
    /// Whether nothing but what a trusted key signed is loaded.
    pub require_signed: bool,
}

/// The highest sequence number that was loaded of each function, kept even where the function is
/// unloaded: an old release does not come back.
pub type Sequences = BTreeMap<FunctionName, u64>;

/// Refuses a release that is older than one that was loaded before.
pub(crate) fn check_sequence(
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

/// The time in seconds since 1970.
pub(crate) fn now_unix() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
