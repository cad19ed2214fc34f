//! The state of a client between its commands.

use std::collections::HashMap;

use crate::durable::Receipt;
use crate::value::blob::Blob;

/// The keys that a client watches, by database and name, as they were then: the version of each
/// one's entry, 0 if there was none.
pub(crate) type Watched = HashMap<(u32, Blob), u64>;

/// One client's standing with the store.
#[derive(Debug, Default)]
pub struct Session {
    pub(crate) database: u32,
    pub(crate) receipt: Option<Receipt>,
    pub(crate) watched: Watched,
}

impl Session {
    /// A client that has just come, in database 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The database that the client's commands go to.
    pub fn database(&self) -> u32 {
        self.database
    }

    /// The receipt of the last write since this was asked before.
    ///
    /// It covers all earlier ones, so a host that answers a pipeline waits once, before it sends.
    pub fn take_receipt(&mut self) -> Option<Receipt> {
        self.receipt.take()
    }
}
