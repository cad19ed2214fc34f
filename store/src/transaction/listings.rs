//! Commands on all keys of an overlay: another engine lists its keys, and the overlay adds and removes those
//! that it has written itself.

use super::Transaction;
use super::overlay::{Missing, OTHER_DATABASE};
use crate::error::StoreError;
use crate::execution::listing::{Listed, ListedKeys, Listing, Listings};
use crate::value::blob::Blob;

/// Random keys that are looked at until one is found that the overlay has not removed.
const RANDOM_KEYS_MAX: usize = 64;

impl Transaction {
    /// Lays in what the engine has answered about all keys. Does nothing unless this is an overlay.
    pub fn lay_listings(&mut self, listings: Listings) {
        if let Some(overlay) = &mut self.overlay {
            overlay.listings = listings;
        }
    }

    /// Returns the answer to a listing; `None` if it is missing and may read as empty.
    fn listed(&mut self, listing: Listing) -> Result<Option<Listed>, StoreError> {
        let Some(overlay) = &mut self.overlay else {
            return Err(StoreError::Conflict);
        };
        if self.database != overlay.database {
            return Err(OTHER_DATABASE);
        }
        if let Some(listed) = overlay.listings.get(&listing) {
            return Ok(Some(listed.clone()));
        }
        overlay.note(Missing::Listing(listing));
        self.lost = true;
        if overlay.may_go_on() {
            Ok(None)
        } else {
            Err(StoreError::Conflict)
        }
    }

    /// Returns the keys of a listing, and apart from them those that this overlay has written.
    pub(super) fn listed_keys(&mut self, listing: Listing) -> Result<ListedKeys, StoreError> {
        let (next, listed) = match self.listed(listing)? {
            Some(Listed::Keys { next, keys }) => (next, keys),
            _ => (0, Vec::new()),
        };
        let mut keys = Vec::with_capacity(listed.len());
        for key in listed {
            let shown = match self.touched(&key).map(|at| &self.keys[at]) {
                None => true,
                // Removed in the engine since it was listed, or written here.
                Some(touched) => !touched.is_written() && touched.value.is_some(),
            };
            if shown {
                keys.push(Blob::new(&key));
            }
        }
        let database = self.database;
        let written = self.keys.iter().filter(|touched| touched.is_written());
        let own = written
            .filter(|touched| touched.database == database)
            .filter_map(|touched| Some((touched.key.clone(), touched.value.clone()?)))
            .collect();
        Ok(ListedKeys { next, keys, own })
    }

    /// Returns the number of keys.
    pub(super) fn listed_len(&mut self) -> Result<usize, StoreError> {
        let mut len = match self.listed(Listing::Size)? {
            Some(Listed::Number(number)) => usize::try_from(number).unwrap_or(usize::MAX),
            _ => 0,
        };
        let Some(overlay) = &mut self.overlay else {
            return Ok(len);
        };
        let mut unknown = false;
        for (at, touched) in self.keys.iter().enumerate() {
            if !touched.is_written() {
                continue;
            }
            let Some(was) = overlay.existed(at) else {
                overlay.note(Missing::Key(touched.key.to_vec().into()));
                unknown = true;
                continue;
            };
            let is = usize::from(touched.value.is_some());
            len = len.saturating_add(is).saturating_sub(usize::from(was));
        }
        if unknown {
            self.lost = true;
            if !overlay.may_go_on() {
                return Err(StoreError::Conflict);
            }
        }
        Ok(len)
    }

    /// Returns a random key that `shows` allows.
    pub(super) fn listed_random(
        &mut self,
        shows: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        for _ in 0..RANDOM_KEYS_MAX {
            let index = self.overlay.as_mut().map_or(0, |overlay| {
                overlay.random_keys += 1;
                overlay.random_keys - 1
            });
            let Some(Listed::Random(Some(key))) = self.listed(Listing::Random(index))? else {
                break;
            };
            let is_there = match self.touched(&key).map(|at| &self.keys[at]) {
                None => true,
                Some(touched) => touched.value.is_some(),
            };
            if is_there && shows(&key) {
                return Ok(Some(key.into()));
            }
        }
        // The engine has none but those that were removed here.
        let mut own = self.keys.iter().filter(|touched| {
            touched.is_written() && touched.value.is_some() && shows(&touched.key)
        });
        Ok(own.next().map(|touched| touched.key.to_vec()))
    }
}
