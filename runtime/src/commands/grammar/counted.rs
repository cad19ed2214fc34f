//! `numkeys key …`: keys that are counted, as the scripting commands of Redis have them.

use std::ops::Range;

use crate::commands::error::CommandError;

/// Which words are keys: as many as the third one says.
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
