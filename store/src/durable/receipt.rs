//! Proof of a commit, which can wait until the commit is on disk.

use std::fmt;
use std::sync::Arc;

use super::queue::Queue;
use crate::error::StoreError;
use crate::keyspace::effect::Effects;

/// Proof of a commit. With `Durability::Always` it can wait for the sync.
#[derive(Clone)]
#[must_use = "a durable host waits for the receipt before it replies"]
pub struct Receipt(Option<(Arc<Queue>, u64)>);

impl fmt::Debug for Receipt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Receipt")
            .field(&self.0.as_ref().map(|(_, number)| number))
            .finish()
    }
}

impl Receipt {
    /// The receipt of a commit that counts as done at once.
    pub(crate) fn immediate() -> Self {
        Self(None)
    }

    /// Returns true if there is anything left to wait for.
    pub fn is_done(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|(queue, number)| queue.synced() >= *number)
    }

    /// Resolves when the commit counts as done.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`] if the disk fails at present. The commit stays in memory, and
    /// goes to disk when the disk works again.
    pub async fn done(self) -> Result<(), StoreError> {
        match self.0 {
            Some((queue, number)) => queue.wait_for(number).await,
            None => Ok(()),
        }
    }

    /// Does the same as [`Receipt::done`], but blocks this thread.
    ///
    /// # Errors
    /// As [`Receipt::done`].
    pub fn wait(self) -> Result<(), StoreError> {
        match self.0 {
            Some((queue, number)) => queue.block_for(number),
            None => Ok(()),
        }
    }
}

impl Queue {
    /// Adds a commit; its effects are moved out of `effects`. The caller holds the locks of everything that the commit
    /// has changed.
    pub(crate) fn push(self: &Arc<Self>, effects: &mut Effects) -> Receipt {
        Receipt(
            self.enqueue(effects)
                .map(|number| (Arc::clone(self), number)),
        )
    }
}
