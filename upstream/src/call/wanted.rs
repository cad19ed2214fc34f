//! The keys, and fields of large hashes, that a call has asked for so far.

use std::collections::HashMap;

use ferrite_store::Missing;

use crate::error::UpstreamError;
use crate::topology::slot_of;

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
#[derive(Debug)]
pub(super) struct Wanted {
    /// True if all keys have to be in one slot.
    has_slots: bool,
    /// The slot, and the key that chose it.
    slot: Option<(u16, Box<[u8]>)>,
    keys: Vec<(Box<[u8]>, WantedKey)>,
    index: HashMap<Box<[u8]>, usize>,
    count: usize,
}

impl Wanted {
    /// Begins without keys. With `has_slots`, all keys have to be in one slot of a cluster.
    pub(super) fn new(has_slots: bool) -> Self {
        Self {
            has_slots,
            slot: None,
            keys: Vec::new(),
            index: HashMap::new(),
            count: 0,
        }
    }

    /// Returns the slot of all keys, once there is one.
    pub(super) fn slot(&self) -> Option<u16> {
        self.slot.as_ref().map(|(slot, _)| *slot)
    }

    /// Notes a key that the call uses, without adding it.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::CrossSlot`].
    pub(super) fn choose_slot(&mut self, key: &[u8]) -> Result<(), UpstreamError> {
        if !self.has_slots {
            return Ok(());
        }
        let slot = slot_of(key);
        match &self.slot {
            None => self.slot = Some((slot, key.into())),
            Some((chosen, first)) if *chosen != slot => {
                return Err(UpstreamError::CrossSlot {
                    first: shown(first),
                    first_slot: *chosen,
                    other: shown(key),
                    other_slot: slot,
                });
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Returns true if the engine is a cluster and no key has chosen the slot of the call yet.
    pub(super) const fn awaits_slot(&self) -> bool {
        self.has_slots && self.slot.is_none()
    }

    /// Returns true if the key is in another slot than the keys so far.
    pub(super) fn is_elsewhere(&self, missing: &Missing) -> bool {
        let (Missing::Key(key) | Missing::Field(key, _) | Missing::Whole(key)) = missing else {
            return false;
        };
        self.slot().is_some_and(|slot| slot != slot_of(key))
    }

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
    /// [`UpstreamError::TooManyKeys`], [`UpstreamError::CrossSlot`].
    pub(super) fn add_key(&mut self, key: &[u8]) -> Result<(), UpstreamError> {
        self.entry(key).map(|_| ())
    }

    /// Adds what a try found missing.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::TooManyKeys`], [`UpstreamError::CrossSlot`].
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
            // No key; see the call's listings.
            Missing::Listing(_) => Ok(()),
        }
    }

    fn entry(&mut self, key: &[u8]) -> Result<&mut WantedKey, UpstreamError> {
        let at = match self.index.get(key) {
            Some(&at) => at,
            None => {
                self.choose_slot(key)?;
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

/// Returns a key for a message, in quotes and not too long.
fn shown(key: &[u8]) -> String {
    const BYTES_MAX: usize = 64;
    match key.get(..BYTES_MAX) {
        Some(start) if key.len() > BYTES_MAX => format!("\"{}…\"", start.escape_ascii()),
        _ => format!("\"{}\"", key.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Missing, Wanted};

    #[test]
    fn keys_of_a_cluster_share_a_slot() {
        let mut wanted = Wanted::new(true);
        assert_eq!(wanted.slot(), None);
        wanted.add_key(b"a").unwrap();
        assert_eq!(wanted.slot(), Some(15_495));
        wanted.add_key(b"x{a}").unwrap();
        let long = [b'b'; 100];
        for key in [&b"b"[..], &long] {
            let missing = Missing::Key(key.into());
            assert!(wanted.is_elsewhere(&missing));
            let error = wanted.add(&missing).unwrap_err().reply();
            assert!(
                error.starts_with("CROSSSLOT ")
                    && error.contains("\"a\" (slot 15495)")
                    && error.len() < 400,
                "{error}"
            );
        }
        assert_eq!(wanted.keys().len(), 2, "nothing was added");
        let mut anywhere = Wanted::new(false);
        anywhere.add_key(b"a").unwrap();
        anywhere.add_key(b"b").unwrap();
        assert_eq!(anywhere.slot(), None);
    }
}
