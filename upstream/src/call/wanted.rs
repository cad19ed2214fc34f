//! The keys, and fields of large hashes, that a call has asked for so far.

use std::collections::HashMap;

use ferrite_store::Missing;

use crate::error::UpstreamError;

/// Most keys and fields that one call may read.
pub(super) const WANTED_MAX: usize = 16_384;

/// A key to be fetched.
#[derive(Debug, Default)]
pub(super) struct WantedKey {
    /// True if the whole value is needed, however large.
    pub(super) whole: bool,
    /// Fields of a hash that is too large to be fetched without need.
    pub(super) fields: Vec<Box<[u8]>>,
}

/// The keys of a call in the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    keys: Vec<(Box<[u8]>, WantedKey)>,
    index: HashMap<Box<[u8]>, usize>,
    count: usize,
}

impl Wanted {
    pub(super) fn keys(&self) -> &[(Box<[u8]>, WantedKey)] {
        &self.keys
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a key.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::TooManyKeys`].
    pub(super) fn add_key(&mut self, key: &[u8]) -> Result<(), UpstreamError> {
        self.entry(key).map(|_| ())
    }

    /// Adds what a try found missing.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::TooManyKeys`].
    pub(super) fn add(&mut self, missing: &Missing) -> Result<(), UpstreamError> {
        match missing {
            Missing::Key(key) => self.add_key(key),
            Missing::Field(key, field) => {
                self.count()?;
                self.entry(key)?.fields.push(field.clone());
                Ok(())
            }
            Missing::Whole(key) => {
                self.entry(key)?.whole = true;
                Ok(())
            }
        }
    }

    fn entry(&mut self, key: &[u8]) -> Result<&mut WantedKey, UpstreamError> {
        let at = match self.index.get(key) {
            Some(&at) => at,
            None => {
                self.count()?;
                let at = self.keys.len();
                self.keys.push((key.into(), WantedKey::default()));
                self.index.insert(key.into(), at);
                at
            }
        };
        Ok(&mut self.keys[at].1)
    }

    fn count(&mut self) -> Result<(), UpstreamError> {
        if self.count == WANTED_MAX {
            return Err(UpstreamError::TooManyKeys { limit: WANTED_MAX });
        }
        self.count += 1;
        Ok(())
    }
}
