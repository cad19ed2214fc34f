//! An error with its causes, on one line.

use std::error::Error;

/// An error with its causes, on one line: `cannot open the cache: permission denied`.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
