//! The state of a client between its commands.

use std::collections::HashMap;

use crate::durable::Receipt;
use crate::value::blob::Blob;

/// The keys that a client watches, by database and name, with the version of each one's entry at
/// that time; 0 if there was none.
pub(crate) type Watched = HashMap<(u32, Blob), u64>;

/// The store's state of one client: its database, watched keys and last receipt.
#[derive(Debug, Default)]
pub struct Session {
    pub(crate) database: u32,
    pub(crate) receipt: Option<Receipt>,
    pub(crate) watched: Watched,
}

impl Session {
    /// Returns the session of a new client, in database 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The database that the client's commands use.
    pub fn database(&self) -> u32 {
        self.database
    }

    /// Takes the receipt of the last write since the previous call.
    ///
    /// It covers all earlier writes, so a host that answers a pipeline waits once, before it sends.
    pub fn take_receipt(&mut self) -> Option<Receipt> {
        self.receipt.take()
    }
}
