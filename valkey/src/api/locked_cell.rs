//! A cell that belongs to whichever thread holds the server's lock.

#![allow(
    unsafe_code,
    reason = "a cell without a lock of its own, shared by all threads that may hold the server's"
)]

use std::cell::Cell;

use crate::api::context::Context;

/// A value that only code with a [`Context`] reaches, so that it needs no lock of its own.
pub(crate) struct LockedCell<T>(Cell<T>);

// SAFETY: every access takes a `Context`, which exists only on the thread that holds the server's
// lock (the main thread has it inside of callbacks) and cannot be sent to another one. So one
// thread at a time uses the cell, and the lock orders their accesses. The value may be sent between
// them.
unsafe impl<T: Send> Sync for LockedCell<T> {}

impl<T> LockedCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Cell::new(value))
    }

    /// Puts a value in the place of the one that is there, which is dropped.
    pub(crate) fn set(&self, _lock: Context<'_>, value: T) {
        self.0.set(value);
    }

    /// Passes the value to `access`. Meanwhile the default one is in its place, for code that `access`
    /// calls.
    pub(crate) fn with<R>(&self, _lock: Context<'_>, access: impl FnOnce(&mut T) -> R) -> R
    where
        T: Default,
    {
        let mut value = self.0.take();
        let result = access(&mut value);
        self.0.set(value);
        result
    }

    /// Takes the value out, and leaves the default one.
    pub(crate) fn take(&self, _lock: Context<'_>) -> T
    where
        T: Default,
    {
        self.0.take()
    }
}
