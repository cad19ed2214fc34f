//! An error with its causes, on one line.

use std::error::Error;

/// An error with its causes, on one line: `cannot open the cache: permission denied`.
pub(crate) fn chain(error: &dyn Error) -> String {
    ferrite_cache::ErrorChain(error).to_string()
}
