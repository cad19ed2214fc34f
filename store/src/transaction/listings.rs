//! Commands on all keys of an overlay: another engine lists its keys, and the overlay adds and removes those
//! that it has written itself.

use super::Transaction;
use super::overlay::{Missing, OTHER_DATABASE};
use crate::error::StoreError;
use crate::execution::listing::{KeyList, Listed, ListedKeys, Listing, Listings};
use crate::transaction::read_write_set::Write;
use crate::value::Value;
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

    /// Returns the keys of a listing, without those that are gone and, at its end, with those that only this
    /// overlay has.
    ///
    /// A key that was written here is shown where the engine shows it, so that a call that goes through all
    /// keys and writes them meets each once. One that no step of the scan has shown comes with the last.
    pub(super) fn listed_keys(&mut self, listing: &Listing) -> Result<ListedKeys, StoreError> {
        let (next, listed) = match self.listed(listing.clone())? {
            Some(Listed::Keys { next, keys }) => (next, keys),
            _ => (0, KeyList::default()),
        };
        let mut keys = Vec::with_capacity(listed.len());
        for key in listed.blobs() {
            let at = self.touched(key);
            let touched = at.map(|at| &self.keys[at]);
            // Removed here, or in the engine since it was listed.
            if touched.is_some_and(|touched| touched.value.is_none() && !touched.unread) {
                continue;
            }
            let written = at.and_then(|at| self.written_value(at)).cloned();
            keys.push((key.clone(), written));
        }
        let mut looked_at = listed.len();
        let unlisted = match next {
            0 => self.unlisted(listing, &mut looked_at),
            _ => Vec::new(),
        };
        Ok(ListedKeys {
            next,
            keys,
            unlisted,
            looked_at,
        })
    }

    /// Returns the value of a key that was written here, as far as it is known.
    fn written_value(&self, at: usize) -> Option<&Value> {
        let touched = &self.keys[at];
        let is_known = match &touched.write {
            Write::Nothing => false,
            Write::Whole => true,
            // Only the deadline of a value that is not here can have been changed.
            Write::Edited(_) => {
                let overlay = self.overlay.as_ref();
                overlay.is_none_or(|overlay| !overlay.is_opaque(at))
            }
        };
        touched.value.as_ref().filter(|_| is_known)
    }

    /// Returns the keys that were written here and that no known step of a scan has shown.
    fn unlisted(&self, listing: &Listing, looked_at: &mut usize) -> Vec<(Blob, Value)> {
        let here = |at: &usize| self.keys[*at].database == self.database;
        let mut written: Vec<bool> = (0..self.keys.len())
            .map(|at| here(&at) && self.written_value(at).is_some())
            .collect();
        let Some(overlay) = self.overlay.as_ref().filter(|_| written.contains(&true)) else {
            return Vec::new();
        };
        for (known, listed) in overlay.listings.iter() {
            let Listed::Keys { keys, .. } = listed else {
                continue;
            };
            if !known.is_of_same_scan(listing) {
                continue;
            }
            *looked_at += keys.len();
            for at in keys.blobs().filter_map(|key| self.touched(key)) {
                written[at] = false;
            }
        }
        let left = (0..written.len()).filter(|at| written[*at]);
        left.filter_map(|at| Some((self.keys[at].key.clone(), self.written_value(at)?.clone())))
            .collect()
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
