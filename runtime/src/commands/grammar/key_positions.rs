//! Finds the keys of a request, by the same rules as the command's own parser.

use std::ops::Range;

use super::sections::Sections;
use crate::commands::error::CommandError;
use crate::commands::spec::{Keys, Spec};

impl Spec {
    /// Returns the range of `argv` that holds the request's keys, for `COMMAND GETKEYS` and for
    /// routing in a cluster.
    ///
    /// # Errors
    ///
    /// Fails if the request does not parse.
    pub fn key_positions(&'static self, argv: &[&[u8]]) -> Result<Range<usize>, CommandError> {
        if !self.takes(argv.len()) {
            return Err(self.wrong_arity());
        }
        Ok(match self.keys {
            Keys::None => 0..0,
            Keys::AfterWord => Sections::read(self, argv, 2)?.keys,
            Keys::Counted => counted_keys(argv)?,
        })
    }
}

/// Parses `numkeys key …` like the scripting commands of Redis: `argv[2]` is the number of keys,
/// which follow it. `argv` must have at least three words.
pub(in crate::commands) fn counted_keys(argv: &[&[u8]]) -> Result<Range<usize>, CommandError> {
    const FIRST: usize = 3;
    let count: i64 = str::from_utf8(argv[2])
        .ok()
        .and_then(|count| count.parse().ok())
        .ok_or(CommandError::KeyCount)?;
    let count = usize::try_from(count).map_err(|_| CommandError::KeyCountNegative)?;
    if count > argv.len() - FIRST {
        return Err(CommandError::KeyCountTooLarge);
    }
    Ok(FIRST..FIRST + count)
}
