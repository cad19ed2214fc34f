//! Overlays: transactions over data of another engine, of which the host lays in what is asked for.
//!
//! An overlay reads nothing from the store. An access to what was not laid in is noted, and makes the
//! transaction lost: its owner fetches what is missing and begins again with another overlay.

use std::collections::HashSet;

use super::Transaction;
use crate::error::StoreError;
use crate::execution::listing::{Listing, Listings};
use crate::transaction::read_write_set::{Seen, Touched, Write};
use crate::value::Value;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::hashing::hash;

/// Most accesses that one overlay notes as missing.
const MISSING_MAX: usize = 4096;

/// The part of a transaction that makes it an overlay.
#[derive(Debug)]
pub(crate) struct Overlay {
    pub(super) database: u32,
    /// True if a missing key reads as absent, so that one run of its owner finds many of them.
    gathers: bool,
    /// Keys that were laid in, at their positions among the touched ones.
    laid: Vec<Laid>,
    missing: Vec<Missing>,
    /// Answers of the engine about all its keys.
    pub(super) listings: Listings,
    /// Number of random keys that were asked for.
    pub(super) random_keys: usize,
    /// Position of the hash whose fields the running operation was checked for.
    checked: Option<usize>,
}

/// A key as it was laid in.
#[derive(Debug)]
pub(crate) struct Laid {
    pub(crate) value: Option<Value>,
    pub(crate) deadline: Deadline,
    pub(crate) content: Content,
}

/// The part of a value that was laid in.
#[derive(Debug)]
pub(crate) enum Content {
    /// All of it, or its absence.
    Whole,
    /// None: the text says why. The key exists, and can be removed, replaced or given a deadline.
    Opaque(Box<str>),
    /// These fields of a hash, of which some may be absent.
    Fields(HashSet<Blob>),
}

/// An access to what was not laid in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Missing {
    /// A key of which nothing is known.
    Key(Box<[u8]>),
    /// A field of a hash of which some fields are known.
    Field(Box<[u8]>, Box<[u8]>),
    /// The rest of such a hash.
    Whole(Box<[u8]>),
    /// An answer about all keys.
    Listing(Listing),
}

/// A key that a transaction has written: its key, how it was laid in, its value and deadline now.
pub(crate) struct Written {
    pub(crate) key: Blob,
    /// `None` if it was written without being laid in.
    pub(crate) laid: Option<Laid>,
    pub(crate) value: Option<Value>,
    pub(crate) deadline: Deadline,
    /// True if the value itself may have changed, false if only its deadline has.
    pub(crate) replaced: bool,
}

/// Error of an access to the keys of the store itself, which an overlay does not have.
pub(super) const ALL_KEYS: StoreError =
    StoreError::Refused("ERR functions see only the keys of this server's engine");
/// Error of a command that removes all keys.
pub(super) const CLEAR: StoreError = StoreError::Refused(
    "ERR functions cannot remove all keys of this server's engine, as a call could not be undone; name the keys, or send the command by itself",
);
pub(super) const OTHER_DATABASE: StoreError =
    StoreError::Refused("ERR functions reach only the selected database of this server's engine");

impl Overlay {
    pub(crate) fn new(database: u32, gathers: bool) -> Self {
        Self {
            database,
            gathers,
            laid: Vec::new(),
            missing: Vec::new(),
            listings: Listings::default(),
            random_keys: 0,
            checked: None,
        }
    }

    pub(super) fn note(&mut self, missing: Missing) {
        if self.missing.len() < MISSING_MAX && !self.missing.contains(&missing) {
            self.missing.push(missing);
        }
    }

    /// Returns true if what is missing may read as absent.
    pub(super) fn may_go_on(&self) -> bool {
        self.gathers && self.missing.len() < MISSING_MAX
    }

    /// Returns true if the value at this position was not laid in, although there is one.
    pub(super) fn is_opaque(&self, at: usize) -> bool {
        let laid = self.laid.get(at);
        laid.is_some_and(|laid| matches!(laid.content, Content::Opaque(_)))
    }

    /// Returns true if the key at this position existed when it was laid in; `None` if it was not.
    pub(super) fn existed(&self, at: usize) -> Option<bool> {
        self.laid.get(at).map(|laid| laid.value.is_some())
    }
}

impl Transaction {
    /// Lays in a key that was not touched before. All keys are laid in before the first access.
    pub(crate) fn lay_in(&mut self, key: &[u8], laid: Laid) {
        let Some(overlay) = &mut self.overlay else {
            return;
        };
        let (value, deadline) = (laid.value.clone(), laid.deadline);
        overlay.laid.push(laid);
        self.keys.push(Touched {
            database: self.database,
            hash: hash(key),
            key: Blob::new(key),
            seen: Seen::Nothing,
            value,
            deadline,
            write: Write::Nothing,
            unread: false,
            savepoint: 0,
        });
    }

    /// Returns true if a key was laid in.
    pub(crate) fn is_laid_in(&self, key: &[u8]) -> bool {
        self.touched(key).is_some()
    }

    /// Reads a key that was not laid in.
    #[cold]
    pub(super) fn miss(&mut self, hash: u64, key: &[u8]) -> Result<Touched, StoreError> {
        let Some(overlay) = &mut self.overlay else {
            return Err(StoreError::Conflict);
        };
        if self.database != overlay.database {
            return Err(OTHER_DATABASE);
        }
        overlay.note(Missing::Key(key.into()));
        self.lost = true;
        if !overlay.may_go_on() {
            return Err(StoreError::Conflict);
        }
        Ok(Touched {
            database: self.database,
            hash,
            key: Blob::new(key),
            seen: Seen::Nothing,
            value: None,
            deadline: Deadline::NEVER,
            write: Write::Nothing,
            unread: false,
            savepoint: 0,
        })
    }

    /// Checks that the value at a position may be looked at as a whole.
    pub(super) fn check_content(&mut self, at: usize) -> Result<(), StoreError> {
        let touched = &self.keys[at];
        let Some(overlay) = &mut self.overlay else {
            return Ok(());
        };
        let Some(laid) = overlay.laid.get(at) else {
            return Ok(());
        };
        if touched.value.is_none() || matches!(touched.write, Write::Whole) {
            return Ok(());
        }
        match &laid.content {
            Content::Whole => Ok(()),
            Content::Opaque(reason) => Err(StoreError::with(&**reason)),
            Content::Fields(_) if overlay.checked == Some(at) => Ok(()),
            Content::Fields(_) => {
                let key = touched.key.to_vec().into();
                overlay.note(Missing::Whole(key));
                self.lost = true;
                Err(StoreError::Conflict)
            }
        }
    }

    /// Checks that an operation that works on these fields of a hash knows them.
    #[inline]
    pub(crate) fn check_fields<'f>(
        &mut self,
        key: &[u8],
        fields: impl IntoIterator<Item = &'f [u8]>,
    ) -> Result<(), StoreError> {
        if self.overlay.is_none() {
            return Ok(());
        }
        self.check_laid_fields(key, &mut fields.into_iter())
    }

    #[cold]
    fn check_laid_fields(
        &mut self,
        key: &[u8],
        fields: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<(), StoreError> {
        let at = self.load(key)?;
        let Some(overlay) = &mut self.overlay else {
            return Ok(());
        };
        overlay.checked = Some(at);
        let Some(Content::Fields(known)) = overlay.laid.get_mut(at).map(|laid| &mut laid.content)
        else {
            return Ok(());
        };
        if self.keys[at].value.is_none() || matches!(self.keys[at].write, Write::Whole) {
            return Ok(());
        }
        let unknown: Vec<&[u8]> = fields.filter(|field| !known.contains(*field)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        // Reads as absent from now on, if anything more is read.
        known.extend(unknown.iter().map(|field| Blob::new(field)));
        for field in unknown {
            overlay.note(Missing::Field(key.into(), field.into()));
        }
        self.lost = true;
        if overlay.may_go_on() {
            Ok(())
        } else {
            Err(StoreError::Conflict)
        }
    }

    /// Forgets which fields were checked, before an operation that may want more.
    #[inline]
    pub(crate) fn uncheck_fields(&mut self) {
        if let Some(overlay) = &mut self.overlay {
            overlay.checked = None;
        }
    }

    /// Returns the accesses so far to what was not laid in.
    pub fn missing(&self) -> &[Missing] {
        self.overlay
            .as_ref()
            .map_or(&[], |overlay| overlay.missing.as_slice())
    }

    /// Ends an overlay and returns the keys that it has written, in the order of their first access.
    pub(crate) fn into_written(mut self) -> Result<Vec<Written>, StoreError> {
        let Some(overlay) = self.overlay.take() else {
            return Ok(Vec::new());
        };
        let Overlay { database, laid, .. } = *overlay;
        let mut laid = laid.into_iter();
        let mut written = Vec::new();
        for touched in self.keys.drain() {
            let laid = laid.next();
            let replaced = match &touched.write {
                Write::Nothing => continue,
                Write::Whole => true,
                Write::Edited(_) => !matches!(
                    &laid,
                    Some(Laid {
                        content: Content::Opaque(_),
                        ..
                    })
                ),
            };
            if touched.database != database {
                return Err(OTHER_DATABASE);
            }
            written.push(Written {
                key: touched.key,
                laid,
                value: touched.value,
                deadline: touched.deadline,
                replaced,
            });
        }
        Ok(written)
    }
}
