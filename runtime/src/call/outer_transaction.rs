//! A transaction of the host in which calls take part beside the host's own commands.

use std::fmt;
use std::sync::Arc;

use ferrite_protocol::keyspace::Transaction;
use parking_lot::Mutex;

/// A transaction of the host in which calls take part.
///
/// While a call runs, it has the transaction; however the call ends, the transaction comes back. The
/// host commits it, and so decides about the writes of all calls together.
pub struct OuterTransaction<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for OuterTransaction<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for OuterTransaction<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OuterTransaction")
    }
}

impl<T: Transaction> OuterTransaction<T> {
    /// Makes a transaction that the host has begun available to calls.
    #[must_use]
    pub fn new(transaction: T) -> Self {
        Self(Arc::new(Mutex::new(Some(transaction))))
    }

    /// Passes the transaction to `access`; returns `None` while a call has it.
    pub fn with<R>(&self, access: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0.lock().as_mut().map(access)
    }

    /// Returns true if the transaction has met a conflict, so that it cannot commit.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.with(|transaction| transaction.is_lost())
            .unwrap_or(true)
    }

    /// Takes the transaction out, to commit it; `None` while a call has it.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.0.lock().take()
    }

    /// Gives the transaction back.
    fn put(&self, transaction: T) {
        *self.0.lock() = Some(transaction);
    }
}

/// The transaction of one call: its own, or one that it takes part in.
#[derive(Debug)]
pub(crate) struct CallTransaction<T: Transaction> {
    transaction: Option<T>,
    /// Source of the transaction; `None` if it is the call's own.
    outer: Option<OuterTransaction<T>>,
}

impl<T: Transaction> CallTransaction<T> {
    /// No transaction.
    pub(crate) const fn none() -> Self {
        Self {
            transaction: None,
            outer: None,
        }
    }

    /// Takes part in the transaction `outer`.
    pub(crate) fn join(&mut self, outer: &OuterTransaction<T>) {
        self.end();
        self.transaction = outer.take();
        self.outer = Some(outer.clone());
    }

    /// Sets the call's own transaction.
    pub(crate) fn set(&mut self, transaction: T) {
        self.end();
        self.transaction = Some(transaction);
    }

    #[inline]
    pub(crate) const fn get(&self) -> Option<&T> {
        self.transaction.as_ref()
    }

    pub(crate) const fn get_mut(&mut self) -> Option<&mut T> {
        self.transaction.as_mut()
    }

    #[inline]
    pub(crate) fn get_or_begin(&mut self, begin: impl FnOnce() -> T) -> &mut T {
        self.transaction.get_or_insert_with(begin)
    }

    /// Takes the call's own transaction, if it has begun one. Gives back one that it took part in.
    #[inline]
    pub(crate) fn take_own(&mut self) -> Option<T> {
        if self.outer.is_some() {
            self.end();
        }
        self.transaction.take()
    }

    /// Gives back a transaction that the call took part in, and rolls back its own.
    #[inline]
    pub(crate) fn end(&mut self) {
        let transaction = self.transaction.take();
        if let Some(outer) = self.outer.take()
            && let Some(transaction) = transaction
        {
            outer.put(transaction);
        }
    }
}

/// However the call's state goes away, the host gets its transaction back.
impl<T: Transaction> Drop for CallTransaction<T> {
    fn drop(&mut self) {
        self.end();
    }
}
