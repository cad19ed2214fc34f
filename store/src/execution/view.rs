//! The keyspace as commands see it: one interface for plain use and transactions.

use crate::blocking::BlockedRequest;
use crate::error::StoreError;
use crate::execution::edit::Edit;
use crate::execution::listing::{ListedKeys, Listing};
use crate::options::Limits;
use crate::value::Value;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::kind::Kind;

/// A key that exists now.
pub(crate) struct Live<'v> {
    pub(crate) value: &'v Value,
    pub(crate) deadline: Deadline,
}

impl<'v> Live<'v> {
    /// The value as the type that the command needs.
    pub(crate) fn cast<T: Kind>(&self) -> Result<&'v T, StoreError> {
        T::of(self.value).ok_or(StoreError::WrongType)
    }
}

/// Behaviour for a key that does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nothing is edited.
    Skip,
    /// Creates an empty value, and keeps it unless it is a collection that stays empty.
    Create,
}

/// The keyspace as one command sees it: one database, one instant, and no concurrent change.
///
/// Expired keys do not exist. Commands report errors before they change anything: a view cannot
/// undo the changes of a failing command.
pub(crate) trait View {
    /// The selected database.
    fn database(&self) -> u32;

    /// Selects a database, below the number of databases.
    fn select(&mut self, database: u32);

    /// The time of this command or transaction, in milliseconds since the Unix epoch.
    fn now(&mut self) -> i64;

    fn limits(&self) -> &Limits;

    fn get(&mut self, key: &[u8]) -> Result<Option<Live<'_>>, StoreError>;

    /// Sets the key, whatever it held before. An empty collection removes the key.
    fn put(&mut self, key: &[u8], value: Value, deadline: Deadline) -> Result<(), StoreError>;

    /// Removes the key; returns true if it existed.
    fn remove(&mut self, key: &[u8]) -> Result<bool, StoreError>;

    /// Changes the key's deadline; returns true if the key existed.
    fn set_deadline(&mut self, key: &[u8], deadline: Deadline) -> Result<bool, StoreError>;

    /// Changes a value in place. A collection that is empty afterwards is removed.
    fn update<T: Kind, R>(
        &mut self,
        key: &[u8],
        missing: Missing,
        edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, StoreError>,
    ) -> Result<Option<R>, StoreError>;

    /// Number of keys in the database.
    fn len(&mut self) -> Result<usize, StoreError>;

    /// Visits about `count` keys from a cursor on; returns the next cursor, 0 at the end.
    fn scan(
        &mut self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&Blob, &Value),
    ) -> Result<u64, StoreError>;

    /// Lists keys where another engine has them; `None` where [`View::scan`] goes through them.
    fn listed(&mut self, _listing: &dyn Fn() -> Listing) -> Result<Option<ListedKeys>, StoreError> {
        Ok(None)
    }

    /// A random key that may be shown.
    fn random_key(&mut self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Removes all keys of one database; `None` for all databases.
    fn clear(&mut self, database: Option<u32>) -> Result<(), StoreError>;

    /// Swaps two databases.
    fn swap(&mut self, databases: [u32; 2]) -> Result<(), StoreError>;

    /// Lets the client wait for its wish; returns the wish if the client cannot wait here.
    fn block(&mut self, wait: BlockedRequest) -> Option<BlockedRequest>;

    /// True if KEYS, SCAN and RANDOMKEY may show a key; a sandboxed function sees only its own.
    fn shows(&self, key: &[u8]) -> bool;

    /// Reads the key as far as that can fail, so that a later read of it does not.
    fn prepare(&mut self, _key: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    /// Takes units of work that is about to be done; see [`ReplyWriter::charge`].
    ///
    /// [`ReplyWriter::charge`]: ferrite_protocol::resp::ReplyWriter::charge
    fn charge(&mut self, _units: u64) -> Result<(), StoreError> {
        Ok(())
    }

    /// Counts bytes that are about to be written, besides the values that are put as a whole.
    fn count_written(&mut self, _bytes: usize) -> Result<(), StoreError> {
        Ok(())
    }

    fn exists(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.get(key)?.is_some())
    }

    /// Returns the deadline of a key; `None` if there is no such key.
    fn deadline(&mut self, key: &[u8]) -> Result<Option<Deadline>, StoreError> {
        Ok(self.get(key)?.map(|live| live.deadline))
    }

    /// Reads the value as the type that the command needs.
    fn read<T: Kind>(&mut self, key: &[u8]) -> Result<Option<&T>, StoreError> {
        match self.get(key)? {
            Some(live) => live.cast().map(Some),
            None => Ok(None),
        }
    }
}
