//! Where a request's keys are, found as its reader finds them.

use std::ops::Range;

use super::counted::counted_keys;
use super::sections::Sections;
use crate::commands::error::CommandError;
use crate::commands::spec::{Keys, Spec};

impl Spec {
    /// Which words of a request are keys, for `COMMAND GETKEYS` and for routing in a cluster.
    ///
    /// # Errors
    ///
    /// When the request cannot be read.
    pub fn key_positions(&'static self, argv: &[&[u8]]) -> Result<Range<usize>, CommandError> {
        if !self.takes(argv.len()) {
            return Err(CommandError::Arity { command: self.name });
        }
        Ok(match self.keys {
            Keys::None => 0..0,
            Keys::AfterWord => Sections::read(self, argv, 2)?.keys,
            Keys::Counted => counted_keys(argv)?,
        })
    }
}
